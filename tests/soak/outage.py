#!/usr/bin/env python3
"""A sink away for as long as an hour at 1,000 requests a second: what the backlog takes, how fast it drains.

    tests/soak/outage.py [--quick] [--only postgres nats] [--seconds 3600]

Records the rows through the ledger alone (bench/ledger.rs), with PostgreSQL or NATS of the test's own
stopped, then starts it. The last line is one JSON object; the exit code is 1 where a backlog drained less
than ten times as fast as it came, or a row is missing.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/blackbox"))
from nats import Nats  # noqa: E402
from postgres import Postgres  # noqa: E402

INFLOW = 1_000
"""Requests a second."""
SINKS = {"postgres": Postgres, "nats": Nats}
FIGURE = re.compile(r"(\d+(?:\.\d+)?) (rows/s|kB resident|bytes a row)|(weir-\S+) (\d+\.\d) us")


def figures(line: str) -> dict[str, float]:
    """What a line of bench-ledger says, by unit or thread."""
    return {what or thread: float(number or spent) for number, what, thread, spent in FIGURE.findall(line)}


def stored(name: str, server: Postgres | Nats) -> int:
    return server.count() if name == "postgres" else server.count("bench.ledger.attempt.>", "bench")


def outage(name: str, rows: int) -> dict[str, object]:
    server = SINKS[name]()
    try:
        server.stop()
        command = [ROOT / "target/release/examples/bench-ledger", "--backlog", rows, f"--{name}", server.url]
        with subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as bench:
            backlog = bench.stdout.readline()
            assert bench.stdout.readline() == "ready\n", backlog
            server.start()
            drained, _ = bench.communicate("\n")
        found = {"rows": rows, "stored": stored(name, server), "backlog": figures(backlog), "drained": figures(drained)}
        times = found["drained"]["rows/s"] / INFLOW
        whole = bench.returncode == 0 and found["stored"] == rows
        return found | {"times_inflow": round(times, 1), "ok": whole and times >= 10}
    finally:
        server.remove()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="a minute's rows")
    arguments.add_argument("--seconds", type=int, default=3_600)
    arguments.add_argument("--only", nargs="*", choices=SINKS, default=list(SINKS))
    given = arguments.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet", "--example", "bench-ledger"], cwd=ROOT, check=True)
    rows = INFLOW * (60 if given.quick else given.seconds)
    report = {name: outage(name, rows) for name in given.only}
    whole = all(found["ok"] for found in report.values())
    print(json.dumps({"outage": report, "ok": whole}))
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())

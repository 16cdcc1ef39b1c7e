#!/usr/bin/env python3
"""Thousands of slow callers beside good ones; prints one JSON object last.

    tests/soak/slow.py [--quick] [--clients 2000] [--deadline 10]

Fails where an attacker outlives its deadline or a good caller's request fails. How much slower good
callers are served is reported, not judged: attackers, good callers and Weir share this machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))

import conf  # noqa: E402
import slow  # noqa: E402
from upstream import Upstream  # noqa: E402
from weir import Weir  # noqa: E402


def latency(good: slow.Good) -> dict:
    return {"requests": len(good.seconds), "failed": len(good.failed), "first_failures": good.failed[:5],
            "p50_ms": good.percentile(0.5), "p99_ms": good.percentile(0.99)}


def one(weir: Weir, mode: str, clients: int, deadline: int) -> dict:
    """One attack: good callers alone first, then beside it."""
    with slow.Good(weir) as calm:
        time.sleep(deadline)
    with slow.Good(weir) as beside:
        ended = slow.attack(weir, mode, clients, most=6 * deadline + 60)
    ok = ended.all_closed and not beside.failed
    return {"ok": ok, "clients": clients, "all_closed": ended.all_closed, "deadlines_counted": ended.counted,
            "seconds": round(ended.seconds, 1), "calm": latency(calm), "attacked": latency(beside)}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="200 clients, deadlines of 2 s")
    parser.add_argument("--clients", type=int)
    parser.add_argument("--deadline", type=int, help="seconds")
    asked = parser.parse_args(argv)
    clients = asked.clients or (200 if asked.quick else 2_000)
    deadline = asked.deadline or (2 if asked.quick else 10)
    found = {}
    with tempfile.TemporaryDirectory() as home:
        chaos = Upstream(Path(home) / "chaos")
        deployment = conf.Deployment([conf.Provider("a")], slow.models(), slow.settings(deadline))
        weir = Weir(chaos, deployment, Path(home) / "weir", {"RUST_LOG": "info"}).start()
        try:
            for mode in slow.MODES:
                found[mode] = one(weir, mode, clients, deadline)
            weir.stop()
        finally:
            if weir.running():
                weir.kill()
            chaos.stop()
    ok = all(each["ok"] for each in found.values())
    # Nothing is drawn by lot.
    print(json.dumps({"script": "slow", "ok": ok, "seed": None, "deadline_s": deadline, "modes": found}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

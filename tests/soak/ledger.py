#!/usr/bin/env python3
"""The ledger's own faults by seed: power cuts, damaged files, kills, faults at every durable call, replays.

    tests/soak/ledger.py [--quick | --repeat N] [--faults F64,F72] [--seed N]

Uses what `tests/run` has installed and the binary of WEIR_BIN, else target/release/weir. The last line
printed is one JSON object; it exits with 1 if anything failed. A failure names its seed: give it to
--seed with --repeat 1 to see it alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "target/test-venv/bin/python"
SHOWN = 3_000


def pytest(*words: str) -> list[object]:
    """Spends its time asleep, so there are more at once than processors."""
    return [PYTHON, "-m", "pytest", "-c", "tests/blackbox/pytest.ini", "-n", "4", "--tb=short", *words]


def cargo(*words: str) -> list[object]:
    """Not by nextest, which ends what takes long. In memory: no disk is asked for what is made to fail."""
    return ["env", "TMPDIR=/dev/shm", "cargo", "test", "--quiet", *words, "--", "--nocapture"]


@dataclass
class Part:
    """One fault: how often, in pieces of how many, by what, and the variable that says how many. What takes
    one process only may run beside others."""

    goal: int
    piece: int
    command: list[object]
    variable: str
    figures: str = ""
    """What the test prints of numbers when it has ended, by name."""
    lane: str = "alone"


PARTS = {
    "F64": Part(1_000, 100, pytest("tests/blackbox/test_ledger_power.py"), "WEIR_POWER_CUTS"),
    "F65": Part(1_000_000, 100_000, cargo("--lib", "ten_thousand_mutations"), "WEIR_MUTATIONS",
                r"(?P<exact>\d+) segments kept their end", "beside"),
    "F72": Part(10_000, 400, pytest("tests/blackbox/test_kill.py"), "WEIR_KILLS"),
    "F73": Part(1_000, 100, cargo("--test", "ledger_faults", "f73"), "WEIR_POINTS",
                r"(?P<enumerated>\d+) durable calls x faults enumerated.*: (?P<killed>\d+) killed, (?P<ended>\d+) ended",
                "beside"),
    "replays": Part(100, 100, pytest("-k", "replayed", *(f"tests/blackbox/test_ledger_{sink}.py" for sink in ("sinks", "nats"))),
                "WEIR_REPLAYS"),
}


def run(part: Part, count: int, seed: int) -> dict[str, object]:
    began = time.monotonic()
    environment = os.environ | {part.variable: str(count), "WEIR_SEED": str(seed)}
    done = subprocess.run([str(word) for word in part.command], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    found = re.search(part.figures, done.stdout)
    # Nothing counts that was left out because a mount or strace is not allowed, nor what ended too early.
    ran = found and not re.search(r"\d+ skipped|^skipped", done.stdout, re.MULTILINE)
    failed = int(done.returncode != 0 or not ran)
    return {
        "repeats": count if ran else 0, "failed": failed, "examples": [done.stdout[-SHOWN:]] * failed,
        "seconds": round(time.monotonic() - began, 1),
    } | {name: int(number) for name, number in (found.groupdict() if ran else {}).items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="as many as have a test process each")
    parser.add_argument("--repeat", type=int, help="instead of the goal of each")
    parser.add_argument("--faults", default=",".join(PARTS), help="ids, separated by commas")
    parser.add_argument("--seed", type=int, default=1, help="of the first repetition; the next has the next")
    parser.add_argument("--list", action="store_true", help="only say which there are, with goal, size of a piece and lane")
    args = parser.parse_args()
    if args.list:
        print(*(f"{fault} {part.goal} {part.piece} {part.lane}" for fault, part in PARTS.items()), sep="\n")
        return 0
    results = {}
    for fault in args.faults.split(","):
        count = 8 if args.quick else args.repeat or PARTS[fault].goal
        results[fault] = run(PARTS[fault], count, args.seed)
        print(fault, json.dumps(results[fault]), flush=True)
    failed = sum(result["failed"] for result in results.values())
    print(json.dumps({"soak": "ledger", "failed": failed, "faults": results}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The ledger under the full numbers: kills, power cuts, faults at every durable call, mutations.

    tests/soak/ledger.py [--quick] [--only NAME ...]

Uses what `tests/run` has installed and the binary of WEIR_BIN, else target/release/weir. The last line
of its output is one JSON object; the exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("WEIR_PYTHON") or ROOT / "target/test-venv/bin/python")


def pytest(file: str, **numbers: int) -> tuple[list[object], dict[str, str]]:
    place = ["-c", "tests/blackbox/pytest.ini", f"tests/blackbox/{file}"]
    return [PYTHON, "-m", "pytest", *place, "-q", "-n", "2", "-rs"], environment(numbers)


def nextest(test: str, **numbers: object) -> tuple[list[object], dict[str, str]]:
    return ["cargo", "nextest", "run", "--no-capture", "-E", test], environment(numbers)


def environment(numbers: dict) -> dict[str, str]:
    return {f"WEIR_{name.upper()}": str(value) for name, value in numbers.items()}


def parts(quick: bool) -> dict[str, tuple[dict, tuple[list[object], dict[str, str]]]]:
    """Each with what it does how often, and the command for it."""
    kills, cuts, mutations = (50, 24, 10_000) if quick else (10_000, 1_000, 1_000_000)
    points, replays = ("some", 5) if quick else ("all", 100)
    return {
        "kills": ({"kills": kills}, pytest("test_kill.py", kills=kills)),
        "power_cuts": ({"cuts": cuts}, pytest("test_ledger_power.py", power_cuts=cuts)),
        "fault_points": ({"points": points}, nextest("binary(ledger_faults)", points=points)),
        "mutations": ({"mutations": mutations}, nextest("test(ten_thousand_mutations)", mutations=mutations)),
        "sinks": ({"replays": replays}, pytest("test_ledger_sinks.py", replays=replays)),
        "nats": ({"replays": replays}, pytest("test_ledger_nats.py", replays=replays)),
    }


def told(output: str) -> dict[str, object]:
    """Figures the tests print."""
    found: dict[str, object] = {}
    if match := re.search(r"(\d+) durable calls x faults enumerated, (\d+) run: (\d+) killed, (\d+) ended", output):
        found |= dict(zip(("enumerated", "run", "killed", "failed"), map(int, match.groups())))
    if match := re.search(r"(\d+) segments kept their end", output):
        found["exact"] = int(match[1])
    for word in ("passed", "failed", "skipped"):
        if match := re.search(rf"(\d+) {word}", output.splitlines()[-1] if output else ""):
            found[f"tests_{word}"] = int(match[1])
    return found


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="the numbers of tests/run")
    arguments.add_argument("--only", nargs="*", help="these parts")
    given = arguments.parse_args()
    report: dict[str, object] = {"quick": given.quick}
    whole = True
    for name, (numbers, (command, variables)) in parts(given.quick).items():
        if given.only and name not in given.only:
            continue
        began = time.monotonic()
        print(f"{name}: {numbers}", file=sys.stderr, flush=True)
        done = subprocess.run([str(word) for word in command], cwd=ROOT, env=os.environ | variables,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            print(done.stdout[-6000:], file=sys.stderr)
        whole &= done.returncode == 0
        seconds = round(time.monotonic() - began, 1)
        report[name] = numbers | {"ok": done.returncode == 0, "seconds": seconds} | told(done.stdout)
    print(json.dumps({"ledger": report, "ok": whole}))
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())

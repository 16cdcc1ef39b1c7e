"""How each fault and script is repeated: until it has been how often, in pieces of how many, by what."""

from __future__ import annotations

import json
import re
import subprocess
import time
import xml.etree.ElementTree as xml
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PYTHON = ROOT / "target/test-venv/bin/python"
BLACKBOX = ROOT / "tests/blackbox"
PYTEST = [PYTHON, "-m", "pytest", "-c", BLACKBOX / "pytest.ini", BLACKBOX]

SCRIPTS = [
    ("framing", "--count", 1_000_000, 20_000),
    ("isolation", "--requests", 1_000_000, 250_000),
    ("json_differential", "--count", 10_000_000, 1_000_000),
]
"""Those that go on by seed, with the flag that says how many."""


@dataclass
class Way:
    """`once` repeats with so many seeds from one on, and says how that went."""

    how: str
    goal: int
    piece: int
    once: Callable[[int, int], dict]
    beside: bool = False
    """Mostly waits: others may run at the same time."""


def last_object(text: str) -> dict:
    """The JSON object on the last line; empty if there is none."""
    lines = text.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def script(name: str, args: list[str]) -> dict:
    """Runs a script of this folder; its last line is its report."""
    began = time.monotonic()
    done = subprocess.run([PYTHON, HERE / f"{name}.py", *args], capture_output=True, text=True, cwd=ROOT)
    report = last_object(done.stdout)
    if not report:
        report = {"error": (done.stderr or done.stdout)[-2000:]}
    return {"ok": done.returncode == 0 and "error" not in report, "args": args,
            "seconds": round(time.monotonic() - began, 1), "report": report}


def by_faults(name: str, fault: str, count: int, seed: int) -> dict:
    """A script that reports on each fault by itself."""
    ran = script(name, ["--faults", fault, "--repeat", str(count), "--seed", str(seed)])
    lost = {"failed": 1, "examples": [ran["report"].get("error", "no result")]}
    return ran["report"].get("faults", {}).get(fault, lost)


def by_script(name: str, flag: str, count: int, seed: int) -> dict:
    """A script that takes a number under this flag."""
    ran = script(name, [flag, str(count), "--seed", str(seed)])
    failed = [] if ran["ok"] else [json.dumps(ran["report"])[:3_000]]
    return {"repeats": 0 if failed else count, "failed": len(failed), "examples": failed, "report": ran["report"]}


def by_pytest(fault: str, tests: int, workers: int, count: int, _seed: int) -> dict:
    """The tests of a fault, all of them until there were at least so many runs."""
    place = ROOT / "target/soak-pytest.xml"
    place.unlink(missing_ok=True)
    command = [*PYTEST, "-n", str(workers), "--tb=short", "-k", f"{fault}_", "--repeat", str(-(-count // tests)),
               f"--junitxml={place}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if not place.exists():
        return {"failed": 1, "examples": [done.stdout[-1000:] + done.stderr[-1000:]]}
    suite = xml.parse(place).getroot().find("testsuite")
    broken = [case for case in suite.iter("testcase") if any(part.tag in ("failure", "error") for part in case)]
    skipped = int(suite.get("skipped"))
    return {"repeats": int(suite.get("tests")) - skipped, "failed": len(broken), "skipped": skipped,
            "examples": [told(case) for case in broken]}


def told(case: xml.Element) -> str:
    return f"{case.get('name')}: " + " ".join((part.text or "")[-1000:] for part in case)


def listed(name: str) -> dict[str, Way]:
    """What a script that knows faults has of them: it says id, goal, size of a piece and lane."""
    said = subprocess.run([PYTHON, HERE / f"{name}.py", "--list"], capture_output=True, text=True, cwd=ROOT, check=True)
    lines = [line.split() for line in said.stdout.splitlines()]
    return {fault: Way(f"{name}.py", int(goal), int(piece), partial(by_faults, name, fault), lane == "beside")
            for fault, goal, piece, lane in lines}


def collected() -> Counter[str]:
    """How many black-box tests have the id of a fault."""
    command = [*PYTEST, "-o", "addopts=--import-mode=importlib", "--collect-only", "-q"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    names = re.findall(r"::test_((?:F\d\d_)+)", said.stdout)
    return Counter(fault for name in names for fault in name.strip("_").split("_"))


def ways(workers: int) -> dict[str, Way]:
    """All there are, by fault or script; a fault's own script comes before the tests with its id."""
    found = {fault: Way("pytest", 1_000, 20, partial(by_pytest, fault, tests, workers))
             for fault, tests in sorted(collected().items())}
    for name in ("faults", "ledger"):
        found |= listed(name)
    for name, flag, goal, piece in SCRIPTS:
        found[name] = Way(f"{name}.py", goal, piece, partial(by_script, name, flag))
    return found

#!/usr/bin/env python3
"""Runs the simulations of selection over many more seeds than `tests/run` does; one JSON object is last.

    tests/soak/selection.py [--seeds N] [--quick]

Ends with 1 where a seed fails; `WEIR_SEED=N cargo test --lib selection::simulation` replays that one alone.
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

ROOT = Path(__file__).parents[2]
QUICK = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} seeds")
    asked = parser.parse_args()
    seeds = QUICK if asked.quick else asked.seeds
    start = time.monotonic()
    command = ["cargo", "test", "--quiet", "--lib", "selection::simulation"]
    ran = subprocess.run(command, cwd=ROOT, env={**os.environ, "WEIR_SEEDS": str(seeds)},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(ran.stdout, file=sys.stderr)
    passed = re.search(r"(\d+) passed", ran.stdout)
    told = {
        "seeds": seeds,
        "failed": ran.returncode != 0 or not passed or int(passed[1]) < 3,
        "failing_seeds": sorted({int(seed) for seed in re.findall(r"seed (\d+):", ran.stdout)}),
        "seconds": round(time.monotonic() - start, 1),
    }
    print(json.dumps(told))
    return int(told["failed"])


if __name__ == "__main__":
    sys.exit(main())

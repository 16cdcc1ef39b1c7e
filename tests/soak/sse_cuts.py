#!/usr/bin/env python3
"""Cuts many more streams in two and in three than `tests/run` does; one JSON object is printed last.

    tests/soak/sse_cuts.py [--streams N] [--doubles N] [--quick] [--seed N]

Ends with 1 where a stream comes to something else at any cut (F29 to F33, G12).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUICK = {"streams": 400, "doubles": 100}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--streams", type=int, default=3_000, help="streams made by chance")
    parser.add_argument("--doubles", type=int, default=400, help="double cuts of each stream")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK}")
    parser.add_argument("--seed", type=int, default=secrets.randbits(63))
    asked = parser.parse_args()
    sizes = QUICK if asked.quick else {"streams": asked.streams, "doubles": asked.doubles}
    environment = {"WEIR_SEED": str(asked.seed), "WEIR_STREAMS": str(sizes["streams"]),
                   "WEIR_DOUBLES": str(sizes["doubles"])}
    start = time.monotonic()
    ran = subprocess.run(["cargo", "test", "--quiet", "--test", "sse_cuts", "--", "--nocapture"], cwd=ROOT,
                         env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=False)
    told = {"seed": asked.seed, "failed": ran.returncode != 0, "made": 0, "written": 0, "recorded": 0, "splits": 0}
    for line in ran.stdout.splitlines():
        print(line, file=sys.stderr)
        # The test's own lines come behind the harness's dots.
        found = re.search(r'\{"(made|recorded)".*\}$', line)
        counts = json.loads(found[0]) if found else {}
        for name in ("made", "written", "recorded", "splits"):
            told[name] += counts.get(name, 0)
    print(json.dumps({**told, "seconds": round(time.monotonic() - start, 1)}))
    return int(told["failed"])


if __name__ == "__main__":
    sys.exit(main())

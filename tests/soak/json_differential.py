#!/usr/bin/env python3
"""Judges generated documents by Weir and every other JSON parser; one JSON object is printed last.

    tests/soak/json_differential.py [--count N] [--quick] [--seed TEXT] [--workers N]

Ends with 1 where anything that Weir accepts is read differently by anybody (S12, S13, G10).
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/json"))

from differential import Report, check  # noqa: E402
from generate import Generator  # noqa: E402
from judges import Judges, weir_judge  # noqa: E402
from cluster import Client, Postgres  # noqa: E402

BATCH = 5_000
QUICK = 100_000
# Disagreements shown in full; all are counted.
SHOWN = 10


def judge(weir: Path, postgres: Client, seed: str, batch: int, size: int) -> Report:
    """One batch, the same wherever and whenever it is made."""
    generator = Generator(f"{seed}/{batch}")
    return check(Judges(weir, postgres), [generator.document() for _ in range(size)])


def sizes(count: int) -> Iterator[tuple[int, int]]:
    for batch, done in enumerate(range(0, count, BATCH)):
        yield batch, min(BATCH, count - done)


def run(count: int, seed: str, workers: int) -> Report:
    total, weir = Report(), weir_judge(ROOT)
    with Postgres() as postgres, ProcessPoolExecutor(workers) as pool:
        batches, running = sizes(count), set[Future]()
        while True:
            for batch, size in batches:
                running.add(pool.submit(judge, weir, postgres, seed, batch, size))
                if len(running) > 2 * workers:
                    break
            if not running:
                return total
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                total.add(future.result())
            print(f"{total.documents} of {count}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} documents")
    parser.add_argument("--seed", default=secrets.token_hex(8))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    start = time.monotonic()
    total = run(QUICK if asked.quick else asked.count, asked.seed, asked.workers)
    print(json.dumps({
        "seed": asked.seed,
        "documents": total.documents,
        "accepted": total.accepted,
        "refused": dict(total.refused.most_common()),
        "refused_elsewhere": dict(total.refused_elsewhere.most_common()),
        "disagreements": len(total.disagreements),
        "first": total.disagreements[:SHOWN],
        "seconds": round(time.monotonic() - start, 1),
    }))
    return 1 if total.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())

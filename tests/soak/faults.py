#!/usr/bin/env python3
"""Faults repeated inside one Weir each: every repetition with a seed of its own, all rows judged.

    tests/soak/faults.py [--quick | --repeat N] [--faults F12,F24] [--seed N]

WEIR_BIN names the binary (default: target/release/weir). The last line printed is one JSON object;
it exits with 1 if anything failed. A fault that fails names the seeds of its repetitions: give one
to --seed with --repeat 1 to see it alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from cases import CASES, Case  # puts the black-box harness on the path

import callers  # finds the harness through cases
import conf
import never
from ledger import Row
from test_faults_flood import status as proc_status
from upstream import Upstream
from weir import Answer, Weir, request

ALL = CASES | callers.CASES
CALLERS = 16
GOAL, PIECE = 1_000, 250
SHOWN = 5
RETRIES_PER_SECOND = 11
"""What the retry budget allows when every request is retried: 10 a second, and a fifth of the requests."""


CLOCKED = {"F13", "F14", "F25"}
"""Faults that are a clock of the provider running out."""


class Pace:
    """Lets so many through in a second."""

    def __init__(self, rate: float) -> None:
        self.gap, self.next, self.lock = 1 / rate, time.monotonic(), threading.Lock()

    def wait(self) -> None:
        with self.lock:
            self.next = max(self.next + self.gap, time.monotonic())
            mine = self.next
        time.sleep(max(0.0, mine - time.monotonic()))


class Soak:
    """One fault, many times: each repetition has a model of its own, so that none cools for another."""

    def __init__(self, chaos: Upstream, directory: Path, fault: str, seeds: list[int]) -> None:
        self.fault, self.seeds = fault, seeds
        # A busy machine is no fault of its own.
        own = "2s" if fault in CLOCKED else "25s"
        providers = [conf.Provider(slug, connect="20s", first_content=clock, idle=clock, total="30s")
                     for slug, clock in (("a", own), ("b", "25s"))]
        models = [conf.Model(f"test/m{number}", ["a", "b"]) for number in range(len(seeds))]
        models.append(conf.Model("test/m", ["b"]))
        limits = {"limits": {"body_bytes": f"{callers.BODY_LIMIT}B", "failed_keys": 0}}
        self.weir = Weir(chaos, conf.Deployment(providers, models, limits), directory)
        directory.mkdir(parents=True)
        self.failed: list[str] = []
        self.retries = Pace(RETRIES_PER_SECOND)

    def run(self) -> dict:
        began = time.monotonic()
        self.weir.start()
        try:
            before = proc_status(self.weir, "VmRSS")
            with ThreadPoolExecutor(CALLERS) as pool:
                done = list(pool.map(self._one, range(len(self.seeds)), self.seeds))
            self._judge([each for each in done if each])
            self._never()
            after = proc_status(self.weir, "VmRSS") if self.weir.running() else 0
            if self.weir.running():
                self.weir.stop()
        except Exception as error:  # one fault that goes wrong does not hide the others
            self.failed.append(f"all: {error!r}"[:500])
            before = after = 0
        finally:
            if self.weir.running():
                self.weir.kill()
        return {
            "repeats": len(self.seeds), "failed": len(self.failed), "examples": self.failed[:SHOWN],
            "seconds": round(time.monotonic() - began, 1), "rss_before": before, "rss_after": after,
        }

    def _one(self, number: int, seed: int) -> tuple[int, str, Case] | None:
        case = ALL[self.fault](Random(seed))
        if len(case.rows) > 1:
            self.retries.wait()
        try:
            return seed, self._ask(case, f"test/m{number}"), case
        except Exception as error:
            self.failed.append(f"seed {seed}: {error!r}"[:500])
            return None

    def _ask(self, case: Case, model: str) -> str:
        roles = {"a": case.step} if case.step is not None else None
        id, body = self.weir.body(roles, model=model, stream=case.stream)
        with self.weir.connect(30) as raw:
            if case.leave is None:
                reply = case.says(self.weir, raw, case, body)
                case.sees(Answer(id, body, reply, self.weir))
                return id
            raw.send(request(case.path, [self.weir.bearer], body))
            if case.leave:
                raw.read_until(case.leave)
            else:
                self.weir.chaos.truth.wait("request", id=id, seconds=20)
            raw.reset()
        return id

    def _judge(self, done: list[tuple[int, str, Case]]) -> None:
        """The rows of every repetition, once they are all there."""
        want = sum(len(case.rows) for _, _, case in done)
        deadline = time.monotonic() + 20
        while len(rows := self.weir.ledger.rows()) < want and time.monotonic() < deadline:
            time.sleep(0.1)
        found: dict[str, list[Row]] = {}
        for row in rows:
            found.setdefault(row["session"], []).append(row)
        for seed, id, case in done:
            have = [(row["provider"], row["outcome"], row["source"]) for row in found.get(id, [])]
            fits = len(have) == len(case.rows) and all(
                wanted in (None, got) for row, expected in zip(have, case.rows)
                for got, wanted in zip(row, expected)
            )
            if not fits:
                self.failed.append(f"seed {seed}: rows {have}, not {case.rows}")

    def _never(self) -> None:
        try:
            never.check(self.weir)
        except AssertionError as error:
            self.failed.append(f"never: {error}"[:500])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three repetitions")
    parser.add_argument("--repeat", type=int, default=GOAL)
    parser.add_argument("--faults", default=",".join(ALL), help="ids, separated by commas")
    parser.add_argument("--seed", type=int, default=1, help="of the first repetition; the next has the next")
    parser.add_argument("--list", action="store_true", help="only say which there are, with goal, size of a piece and lane")
    args = parser.parse_args()
    if args.list:
        print(*(f"{fault} {GOAL} {PIECE} beside" for fault in ALL), sep="\n")
        return 0
    count = 3 if args.quick else args.repeat
    seeds = list(range(args.seed, args.seed + count))
    results = {}
    with tempfile.TemporaryDirectory(prefix="weir-soak-") as place:
        for fault in args.faults.split(","):
            # A provider process for each: what it has seen is read again and again.
            home = Path(place) / fault
            home.mkdir()
            chaos = Upstream(home / "chaos")
            results[fault] = Soak(chaos, home / "weir", fault, seeds).run()
            chaos.process.stdin.close()
            chaos.process.wait(timeout=20)
            print(fault, json.dumps(results[fault]), flush=True)
    failed = sum(result["failed"] for result in results.values())
    print(json.dumps({"soak": "faults", "seeds": [args.seed, args.seed + count - 1], "failed": failed, "faults": results}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Does the time of a refusal say how near a wrong key is to a right one? (S11, S18, after dudect.)

    WEIR_BIN=target/release/weir python tests/soak/timing.py [--pairs N]

Two classes of wrong keys, drawn at random one after the other on one connection: keys that share all
but their last digit with a good one, and keys of random digits. Welch's t of their times, with the
slowest percentages cropped as dudect does; |t| under 4.5 is no evidence of a difference. Prints one
JSON object, and ends with 1 where there is such evidence. Nothing here asserts a speed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))

import conf  # noqa: E402
from client import head  # noqa: E402
from upstream import Upstream  # noqa: E402
from weir import Weir  # noqa: E402

EVIDENCE = 4.5
CROPS = [100, 99, 95, 90, 75, 50]
PATH = "/api/v1/generation?id=gen-1"


def wrong(key: str, near: bool, dice: random.Random) -> str:
    """A key that is not the good one: it differs in its last digit, or in all."""
    if near:
        return key[:-1] + dice.choice([digit for digit in "0123456789abcdef" if digit != key[-1]])
    return f"sk-or-v1-{dice.randbytes(32).hex()}"


def measured(weir: Weir, pairs: int, dice: random.Random) -> dict[bool, list[int]]:
    """Nanoseconds of each refusal, by class."""
    times: dict[bool, list[int]] = {True: [], False: []}
    # All before the first is sent: to make a key just before would leave the caller's own caches different.
    asks = []
    for near in (dice.random() < 0.5 for _ in range(2 * pairs)):
        key = wrong(weir.deployment.key, near, dice)
        asks.append((near, head("GET", PATH, [("host", "w"), ("authorization", f"Bearer {key}")])))
    for index, (near, ask) in enumerate(asks):
        with weir.connect() as raw:
            began = time.perf_counter_ns()
            raw.sock.sendall(ask)
            answer = raw.sock.recv(65536)
            spent = time.perf_counter_ns() - began
        assert answer.startswith(b"HTTP/1.1 401 "), answer
        if index > pairs // 10:
            times[near].append(spent)
    return times


def welch(one: list[int], two: list[int]) -> float:
    """Welch's t."""
    spread = statistics.variance(one) / len(one) + statistics.variance(two) / len(two)
    return (statistics.fmean(one) - statistics.fmean(two)) / math.sqrt(spread)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="500 pairs")
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    asked = parser.parse_args()
    asked.pairs = 500 if asked.quick else asked.pairs
    dice = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as place:
        chaos = Upstream(Path(place) / "chaos")
        deployment = conf.Deployment([conf.Provider("a")], [conf.Model("test/m", ["a"])],
                                     {"limits": {"failed_keys": 0}})
        weir = Weir(chaos, deployment, Path(place) / "weir", {"RUST_LOG": "warn"})
        weir.directory.mkdir()
        try:
            weir.start()
            times = measured(weir, asked.pairs, dice)
            weir.stop()
        finally:
            if weir.running():
                weir.kill()
            chaos.stop()
    together = sorted(times[True] + times[False])
    found = {}
    for percent in CROPS:
        most = together[len(together) * percent // 100 - 1]
        found[percent] = round(welch(*([spent for spent in times[near] if spent <= most] for near in (True, False))), 2)
    report = {
        "measured": len(together), "seed": asked.seed, "t_by_crop": found, "evidence_from": EVIDENCE,
        "median_us": {name: statistics.median(times[near]) / 1000 for name, near in (("near", True), ("far", False))},
    }
    print(json.dumps(report))
    return int(max(abs(t) for t in found.values()) >= EVIDENCE)


if __name__ == "__main__":
    sys.exit(main())

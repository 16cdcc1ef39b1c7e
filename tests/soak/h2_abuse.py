#!/usr/bin/env python3
"""Every HTTP/2 attack of F59 at length, beside good callers (G14): memory, their p99, and how it ended.

    tests/soak/h2_abuse.py [--quick]

WEIR_BIN names the binary (default: target/release/weir). The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time

from stage import Growth, Stage, report, warm

import h2attack  # found through stage
from h2client import H2Caller
from weir import Weir

MOST_GROWTH = 64 << 20
TIMES_CALM = 2.0
# Below this a p99 is the machine's scheduling, not what an attack does to it.
FLOOR = 0.05


def p99(samples: list[float]) -> float:
    return sorted(samples)[int(len(samples) * 0.99)]


def good(weir: Weir, seconds: float) -> list[float]:
    """Latencies of callers on both protocols, each answer checked."""
    samples: list[float] = []
    until = time.monotonic() + seconds
    with H2Caller(weir.port) as caller:
        while time.monotonic() < until:
            began = time.monotonic()
            answer = weir.ask(stream=False)
            assert answer.status == 200 and answer.text, answer.status
            samples.append(time.monotonic() - began)
            began = time.monotonic()
            _, body = weir.body(stream=True)
            stream = caller.post("/v1/chat/completions", [weir.bearer], body)
            while stream not in caller.ended:
                caller.read()
                assert not caller.gone
            assert caller.body[stream].endswith(b"data: [DONE]\n\n")
            samples.append(time.monotonic() - began)
    return samples


def attacker(port: int, key: str, name: str, connections: int, seconds: float, results) -> None:
    """Runs in a process of its own, behind the others: the machine should serve Weir first."""
    os.nice(10)
    attack = next(each for each in h2attack.attacks(key) if each.name == name)
    began, sent, ended = time.monotonic(), 0, {}
    while (left := began + seconds - time.monotonic()) > 0:
        hold = 0.0 if attack.more and (attack.cut or attack.library) else left
        seen = h2attack.assault(port, attack, connections, seconds=min(left, 2.0), hold=hold)
        sent += seen.sent
        for how, count in seen.ended.items():
            ended[how] = ended.get(how, 0) + count
    results.put((sent, ended))


def one(stage: Stage, name: str, connections: int, seconds: float) -> dict:
    """One attack on a fresh Weir."""
    limits = {"head_timeout": "2s", "keepalive_idle": "5s", "write_timeout": "3s"}
    with stage.weir(limits=limits) as weir:
        warm(weir)
        calm = p99(good(weir, seconds / 2))
        results = multiprocessing.SimpleQueue()
        key = weir.deployment.key
        process = multiprocessing.Process(
            target=attacker, args=(weir.port, key, name, connections, seconds, results))
        with Growth(weir.process.pid) as growth:
            process.start()
            under = p99(good(weir, seconds))
            sent, ended = results.get()
            process.join(30)
        found = {
            "attack": name, "sent": sent, "growth": growth.peak, "ended": ended,
            "p99_calm_ms": round(calm * 1000, 1), "p99_attacked_ms": round(under * 1000, 1),
            "cut": {labels["kind"]: int(value) for family, labels, value in weir.metrics()
                    if family == "weir_h2_abuse_total" and value},
        }
        good(weir, 0.2)
    slow = under > max(TIMES_CALM * calm, FLOOR)
    return found | {"ok": growth.peak <= MOST_GROWTH and not slow}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds in place of minutes")
    quick = parser.parse_args().quick
    connections, seconds = (10, 1.0) if quick else (50, 15.0)
    with Stage() as stage:
        found = []
        for attack in h2attack.attacks(""):
            found.append(one(stage, attack.name, connections, seconds))
            print(found[-1], file=sys.stderr, flush=True)
    report("h2_abuse", all(each["ok"] for each in found), connections=connections, seconds=seconds, attacks=found)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Thousands of slow callers beside good ones; prints one JSON object last.

    tests/soak/slow.py [--quick] [--clients 2000] [--deadline 10] [--modes headers,body,read]

Needs bench-load and bench-upstream, as overload.py does. Good callers ask by the clock, first alone and
then beside each attack. Fails where an attacker outlives its deadline, a good caller's request fails, or
the slowest hundredth of good requests takes half as long again as without the attack. Attackers would
have a machine of their own: here they have half of the processors, with the good callers and only when
those want nothing; Weir and its upstream have the other half.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))

import conf  # noqa: E402
import slow  # noqa: E402
from overload import EXAMPLES, offer  # noqa: E402
from weir import Weir, free_ports  # noqa: E402

RATE, CONNECTIONS = 200.0, 16
"""What good callers ask for in a second, and over how many connections at most."""
SLOWER = 1.5
CORES = sorted(os.sched_getaffinity(0))
OURS, THEIRS = CORES[:len(CORES) // 2], CORES[len(CORES) // 2:]
ASIDE = ("chrt", "--idle", "0")


def good(weir: Weir, seconds: float) -> dict:
    """Good callers for so many seconds."""
    seen = offer(weir, CONNECTIONS, seconds, RATE, "small")
    return {"requests": seen["offered"], "failed": seen["offered"] - seen["served"],
            "p50_ms": seen["served_p50_us"] / 1000, "p99_ms": seen["served_p99_us"] / 1000}


def one(weir: Weir, mode: str, clients: int, deadline: int) -> dict:
    """One attack: good callers alone first, then beside it."""
    seconds = slow.RAMP_SECONDS + deadline
    calm = good(weir, seconds)
    with ThreadPoolExecutor() as pool:
        beside = pool.submit(good, weir, seconds)
        ended = slow.attack(weir, mode, clients, 6 * deadline + 60, ASIDE)
        attacked = beside.result()
    slower = round(attacked["p99_ms"] / calm["p99_ms"], 2)
    ok = ended.all_closed and not calm["failed"] and not attacked["failed"] and slower <= SLOWER
    return {"ok": ok, "clients": clients, "all_closed": ended.all_closed, "deadlines_counted": ended.counted,
            "seconds": round(ended.seconds, 1), "slower": slower, "calm": calm, "attacked": attacked}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="200 clients, deadlines of 2 s")
    parser.add_argument("--clients", type=int)
    parser.add_argument("--deadline", type=int, help="seconds")
    parser.add_argument("--modes", default=",".join(slow.MODES))
    asked = parser.parse_args(argv)
    clients = asked.clients or (200 if asked.quick else 2_000)
    deadline = asked.deadline or (2 if asked.quick else 10)
    found, held = {}, []
    (port,) = free_ports(1, held)
    os.sched_setaffinity(0, THEIRS)
    pinned = ["taskset", "--cpu-list", ",".join(map(str, OURS))]
    upstream = subprocess.Popen([*pinned, EXAMPLES / "bench-upstream", f"127.0.0.1:{port}"])
    models = [conf.Model("bench/small", ["a"]), *slow.models()]
    provider = conf.Provider("a", f"http://127.0.0.1:{port}/v1")
    deployment = conf.Deployment([provider], models, slow.settings(deadline))
    with tempfile.TemporaryDirectory() as home:
        weir = Weir(SimpleNamespace(port=port), deployment, Path(home), {"RUST_LOG": "warn"})
        weir.prefix = pinned
        try:
            weir.start()
            offer(weir, CONNECTIONS, 2, RATE, "small")
            for mode in asked.modes.split(","):
                found[mode] = one(weir, mode, clients, deadline)
                print(mode, json.dumps(found[mode]), file=sys.stderr, flush=True)
            weir.stop()
        finally:
            if weir.running():
                weir.kill()
            upstream.terminate()
            upstream.wait()
    ok = all(each["ok"] for each in found.values())
    # Nothing is drawn by lot.
    print(json.dumps({"script": "slow", "ok": ok, "seed": None, "deadline_s": deadline, "modes": found}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

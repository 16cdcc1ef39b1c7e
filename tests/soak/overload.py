#!/usr/bin/env python3
"""Ten times what the provider can serve, offered by the clock: what is still served, and how the rest is told.

    WEIR_BIN=target/release/weir python tests/soak/overload.py [--times N] [--requests N] [--seconds N]

Needs bench-load and bench-upstream (cargo build --release --examples; WEIR_EXAMPLES names another
place). The provider serves `--places` requests at once, each in 50 ms. `limits.requests` is what sheds:
without it everything waits for the provider, times out there, and almost nothing is served (try
`--requests 16384`). Prints one JSON object last, and ends with 1 where goodput is under 90 % of its
peak, a refusal is malformed, or the operators' listener kept somebody waiting for a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))

import conf  # noqa: E402
from weir import Weir, free_ports  # noqa: E402

EXAMPLES = Path(os.environ.get("WEIR_EXAMPLES") or Path(__file__).parents[2] / "target/release/examples")
SERVICE = 0.05
PATH = "/api/v1/chat/completions"
GOODPUT, WAIT = 0.9, 1.0


def offer(weir: Weir, connections: int, seconds: float, rate: float, mode: str = "slow") -> dict:
    """What came of this many requests a second."""
    address = f"127.0.0.1:{weir.port}"
    command = [EXAMPLES / "bench-load", address, PATH, weir.deployment.key, mode, str(connections), str(seconds), str(rate)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    return json.loads(done.stdout)


class Operator(threading.Thread):
    """Asks for health and metrics all the while, and remembers the longest wait."""

    def __init__(self, weir: Weir) -> None:
        super().__init__(daemon=True)
        self.weir, self.longest, self.failed, self.asked, self.over = weir, 0.0, 0, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.05):
            for path in ("/healthz", "/metrics"):
                began = time.monotonic()
                try:
                    self.weir.get_admin(path)
                except OSError:
                    self.failed += 1
                self.asked += 1
                self.longest = max(self.longest, time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="4 seconds")
    parser.add_argument("--places", type=int, default=16)
    parser.add_argument("--times", type=float, default=10.0)
    parser.add_argument("--requests", type=int, default=32, help="limits.requests")
    parser.add_argument("--connections", type=int, default=4_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args()
    asked.seconds = 4.0 if asked.quick else asked.seconds
    capacity = asked.places / SERVICE
    held: list = []
    (port,) = free_ports(1, held)
    command = [EXAMPLES / "bench-upstream", f"127.0.0.1:{port}", str(asked.places), str(round(SERVICE * 1000))]
    upstream = subprocess.Popen(command)
    provider = conf.Provider("slow", f"http://127.0.0.1:{port}/v1", connect="5s", first_content="5s", total="30s")
    limits = {"requests": asked.requests, "requests_per_key": asked.requests}
    deployment = conf.Deployment([provider], [conf.Model("bench/slow", ["slow"])], {"limits": limits})
    with tempfile.TemporaryDirectory() as place:
        weir = Weir(SimpleNamespace(port=port), deployment, Path(place), {"RUST_LOG": "warn"})
        try:
            weir.start()
            offer(weir, asked.connections, 2, capacity / 2)
            peak = offer(weir, asked.connections, asked.seconds / 2, capacity)
            operator = Operator(weir)
            operator.start()
            crowd = offer(weir, asked.connections, asked.seconds, capacity * asked.times)
            operator.over.set()
            operator.join()
            weir.settles(0, "in_flight")
            weir.stop()
        finally:
            if weir.running():
                weir.kill()
            upstream.terminate()
            upstream.wait()
    rates = {name: found["served"] / found["seconds"] for name, found in (("peak", peak), ("goodput", crowd))}
    share = rates["goodput"] / rates["peak"] if rates["peak"] else 0.0
    good = share >= GOODPUT and not crowd["malformed"] and not operator.failed and operator.longest < WAIT
    report = {
        "capacity": capacity, "times": asked.times, "limit": asked.requests, "good": good, "share": round(share, 3),
        **{name: round(rate, 1) for name, rate in rates.items()},
        "operators": {"asked": operator.asked, "failed": operator.failed, "longest_ms": round(operator.longest * 1000, 1)},
        "overload": crowd, "at_peak": peak,
    }
    print(json.dumps(report))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())

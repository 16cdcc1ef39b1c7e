#!/usr/bin/env python3
"""A million interleaved requests of many callers, each with a watermark of its own (S32).

    WEIR_BIN=target/release/weir python tests/soak/isolation.py [--requests N] [--lanes N] [--seed N]

Prints one JSON object, and ends with 1 if any answer or row was another's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))

import conf  # noqa: E402
import isolation  # noqa: E402
from upstream import Upstream  # noqa: E402
from weir import Weir  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="3,000 requests")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--lanes", type=int, default=32)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    asked = parser.parse_args()
    asked.requests = 3_000 if asked.quick else asked.requests
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        chaos = Upstream(Path(place) / "chaos")
        deployment = conf.Deployment([conf.Provider("a"), conf.Provider("b")], [conf.Model("test/m", ["a", "b"])])
        weir = Weir(chaos, deployment, Path(place) / "weir", {"RUST_LOG": "warn"})
        weir.directory.mkdir()
        try:
            weir.start()
            callers = isolation.keys(weir, 8)
            weir.process.send_signal(signal.SIGHUP)
            weir.settles(1, "reload_total", result="applied")
            found = asyncio.run(isolation.interleaved(weir, callers, asked.requests, asked.lanes, asked.seed))
            weir.settles(0, "in_flight")
            deadline = time.monotonic() + 60
            while weir.metric("spool_rows") and time.monotonic() < deadline:
                time.sleep(0.1)
            strangers, rows = isolation.strangers(weir, found), len(weir.ledger.rows())
            weir.stop()
        finally:
            if weir.running():
                weir.kill()
            chaos.stop()
    report = {
        "requests": asked.requests, "seed": asked.seed, "lanes": asked.lanes, "whole": found.whole,
        "unserved": found.unserved, "left": found.left, "rows": rows, "foreign_answers": len(found.strange), "foreign_rows": len(strangers),
        "first": found.strange[:3], "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(report))
    return int(bool(found.strange or strangers))


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What callers with the largest bodies cost everybody else: small requests, alone and beside them.

    WEIR_BIN=target/release/weir python tests/soak/fairness.py [--bodies MIB] [--callers N]

Each large body is read and judged whole, then refused, for it names no model; one sort is a single
text, the other as many small values as fit. Prints one JSON object, and ends with 1 where a small
request was not answered, or waited ten times as long as all the large bodies take to be judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))

import conf  # noqa: E402
from client import head  # noqa: E402
from weir import Weir  # noqa: E402

PATH = "/v1/chat/completions"
SMALL = b'{"model":"made/up","messages":[{"role":"user","content":"x"}]}'


def large(sort: str, size: int) -> bytes:
    """A body of this size without a model."""
    if sort == "text":
        return b'{"messages":[{"role":"user","content":"%s"}]}' % (b"a" * (size - 50))
    return b'{"messages":[],"stop":[%s1]}' % (b"1," * (size // 2 - 20))


def ask(weir: Weir, body: bytes) -> float:
    """Seconds until the refusal came."""
    fields = [("host", "w"), weir.bearer, ("content-length", str(len(body)))]
    with weir.connect(60) as raw:
        began = time.monotonic()
        raw.sock.sendall(head("POST", PATH, fields))
        raw.sock.sendall(body)
        reply = raw.read()
        assert reply.status == 400, (reply.status, reply.body[:200])
    return time.monotonic() - began


def small(weir: Weir, seconds: float) -> list[float]:
    """The waits of small requests, one after the other."""
    waits, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        waits.append(ask(weir, SMALL))
        time.sleep(0.002)
    return sorted(waits)


def shown(waits: list[float]) -> dict:
    return {f"p{percent}_ms": round(waits[(len(waits) - 1) * percent // 100] * 1000, 2) for percent in (50, 99, 100)}


def beside(weir: Weir, body: bytes, callers: int, seconds: float) -> tuple[list[float], int]:
    """Small requests while others send this body again and again; and how often they did."""
    over, sent = threading.Event(), []

    def send() -> None:
        while not over.is_set():
            sent.append(ask(weir, body))

    threads = [threading.Thread(target=send) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        return small(weir, seconds), len(sent)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="bodies of 8 MiB for a second")
    parser.add_argument("--bodies", type=int, default=48, help="MiB")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0)
    asked = parser.parse_args()
    if asked.quick:
        asked.bodies, asked.seconds = 8, 1.0
    deployment = conf.Deployment([conf.Provider("a")], [conf.Model("test/m", ["a"])])
    with tempfile.TemporaryDirectory() as place:
        weir = Weir(SimpleNamespace(port=1), deployment, Path(place), {"RUST_LOG": "warn"})
        try:
            weir.start()
            report, good = {"calm": shown(small(weir, asked.seconds))}, True
            for sort in ("text", "values"):
                body = large(sort, asked.bodies << 20)
                alone = min(ask(weir, body) for _ in range(3))
                waits, sent = beside(weir, body, asked.callers, asked.seconds)
                report[sort] = {"alone_ms": round(alone * 1000, 1), "large": sent} | shown(waits)
                good &= waits[-1] < 10 * alone * asked.callers
            weir.stop()
        finally:
            if weir.running():
                weir.kill()
    print(json.dumps(report | {"good": good}))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())

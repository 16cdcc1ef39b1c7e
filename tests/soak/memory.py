#!/usr/bin/env python3
"""Resident growth over bytes received, for everything a caller can do before it is known (S10, G15);
what an open stream costs; and whether memory comes back.

    tests/soak/memory.py [--quick] [--table] [--parts h1,h2,streams]

WEIR_BIN names the binary (default: target/release/weir); the bound per stream is for a release build.
The last line printed is one JSON object; `--table` prints the rows of README.md before it.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stage import Growth, Stage, report, warm

import h2attack  # found through stage
from client import head
from weir import Weir

# Bytes held for each byte received, beside what a connection may cost whatever it says: the bar of S10.
TIMES = 10
CONNECTION = 64 << 10
MOST_GROWTH = 64 << 20
# Rounding of the allocator and of the process's own work.
NOISE = 1 << 20
STREAM_KB = 60.0
CHAT = "/v1/chat/completions"


@dataclass
class Kind:
    """One thing callers do with many connections at once: what each of them sends."""

    name: str
    sends: Callable[[Weir], bytes]
    tls: bool = False
    """The bytes stand for TLS records; else plain text."""


def post(weir: Weir, fields: list[tuple[str, str]], body: bytes = b"") -> bytes:
    return head("POST", CHAT, [("host", "weir"), *fields]) + body


def hello() -> bytes:
    """A whole ClientHello."""
    out = ssl.MemoryBIO()
    engine = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    try:
        engine.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


CHUNKED = ("transfer-encoding", "chunked")
KINDS = [
    Kind("idle connections", lambda _: b""),
    Kind("slow heads: a line", lambda _: b"POST /v1/chat/completions HTTP/1.1\r\nhost: w\r\n"),
    Kind("slow heads: almost 32 KiB", lambda _: b"POST / HTTP/1.1\r\nhost: w\r\nx: " + b"v" * 32_000),
    Kind("slow heads: 90 fields",
         lambda _: b"POST / HTTP/1.1\r\nhost: w\r\n" + b"".join(b"x-%d: v\r\n" % n for n in range(90))),
    Kind("no key, body to come", lambda w: post(w, [("content-length", "1000000")], b"{")),
    Kind("no key, chunks of one byte", lambda w: post(w, [CHUNKED], b"1\r\nx\r\n" * 2_000)),
    Kind("a length that lies", lambda w: post(w, [w.bearer, ("content-length", str(60 << 20))], b"{")),
    Kind("chunks of one byte", lambda w: post(w, [w.bearer, CHUNKED], b"1\r\nx\r\n" * 20_000)),
    Kind("half a body", lambda w: post(w, [w.bearer, ("content-length", "200000")], b" " * 20_000)),
    Kind("TLS: idle connections", lambda _: b"", tls=True),
    Kind("TLS: half a ClientHello", lambda _: hello()[:100], tls=True),
    Kind("TLS: stalled after the ClientHello", lambda _: hello(), tls=True),
]


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def row(name: str, over: str, connections: int, sent: int, growth: Growth, **more) -> dict:
    """One line of the table."""
    own = max(growth.peak - connections * CONNECTION, 0)
    ok = own <= TIMES * sent + NOISE and growth.peak <= MOST_GROWTH
    return {"kind": name, "over": over, "connections": connections, "received": sent, "growth": growth.peak,
            "per_connection": round(growth.peak / connections), "ratio": round(own / sent, 1) if sent else None,
            "ok": ok} | more


def measured(stage: Stage, kind: Kind, connections: int) -> dict:
    """Many connections that send the same and stay."""
    with stage.weir(kind.tls) as weir:
        warm(weir)
        data = kind.sends(weir)
        with Growth(weir.process.pid) as growth:
            open_now = [connected(weir.port) for _ in range(connections)]
            for sock in open_now:
                try:
                    sock.sendall(data)
                except OSError:
                    pass  # answered and closed before it had said everything
            time.sleep(1.0)
            for sock in open_now:
                sock.close()
        return row(kind.name, "h1" if not kind.tls else "TLS", connections, connections * len(data), growth)


def attacked(stage: Stage, name: str, tls: bool, connections: int) -> dict:
    """One attack of F59, once on each connection."""
    with stage.weir(tls, limits={"head_timeout": "2s"}) as weir:
        warm(weir)
        attack = next(each for each in h2attack.attacks(weir.deployment.key) if each.name == name)
        with Growth(weir.process.pid) as growth:
            seen = h2attack.assault(weir.port, attack, connections, seconds=4.0, hold=2.5,
                                    context=stage.trust if tls else None)
        return row(name, "h2 TLS" if tls else "h2c", connections, seen.sent, growth,
                   ended=seen.ended, after=round(seen.after, 2))


def table(stage: Stage, quick: bool, parts: list[str]) -> Iterator[dict]:
    """Every kind, HTTP/2 on both transports."""
    many, some = (100, 10) if quick else (500, 40)
    for kind in KINDS if "h1" in parts else []:
        yield measured(stage, kind, many)
    for tls in (False, True) if "h2" in parts else ():
        for attack in h2attack.attacks(""):
            yield attacked(stage, attack.name, tls, some)


async def hold(weir: Weir, count: int, growth: Growth) -> int:
    """Growth with so many streams open, each of which has had its first event."""
    step = {"a": {"text": ["word "] * 60, "pace": 2.0, "first_delay": -2.0}}
    within = asyncio.Semaphore(50)
    writers = []

    async def one() -> None:
        async with within:
            _, body = weir.body(step, stream=True)
            reader, writer = await asyncio.open_connection("127.0.0.1", weir.port)
            fields = [weir.bearer, ("content-length", str(len(body)))]
            writer.write(post(weir, fields, body))
            await asyncio.wait_for(reader.readuntil(b"data: {"), 60)
            writers.append(writer)

    await asyncio.gather(*(one() for _ in range(count)))
    await asyncio.sleep(1.0)
    grown = growth.now()
    for writer in writers:
        writer.transport.abort()
    return grown


def streams(stage: Stage, count: int, bound: float) -> dict:
    """What an open stream costs, and what is left of it once all have ended."""
    with stage.weir() as weir:
        warm(weir, 50)
        with Growth(weir.process.pid) as growth:
            grown = asyncio.run(hold(weir, count, growth))
            weir.settles(0, "in_flight")
            left = growth.settled(grown // 4, 15.0)
    each = grown / count / 1000
    return {"streams": count, "kB_per_stream": round(each, 1), "bound_kB": bound, "left_share": round(left / grown, 2),
            "ok": each <= bound and left <= grown // 4}


def shown(found: dict) -> str:
    """The row of the table in README.md."""
    ratio = "-" if found["ratio"] is None else f"{found['ratio']:.1f}"
    ended = ", ".join(f"{how} x {n}" for how, n in found.get("ended", {}).items())
    after = f" within {found['after']} s" if found.get("after") else ""
    return (f"| {found['kind']} | {found['over']} | {found['connections']} | {found['received'] / 1000:,.1f} | "
            f"{found['growth'] / 1000:,.0f} | {found['per_connection'] / 1000:,.1f} | {ratio} | {ended}{after} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer connections and streams")
    parser.add_argument("--table", action="store_true", help="print the rows of README.md as well")
    parser.add_argument("--any-build", action="store_true", help="no bound per stream: not a release build")
    parser.add_argument("--parts", default="h1,h2,streams")
    asked = parser.parse_args()
    parts = asked.parts.split(",")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Stage() as stage:
        rows = []
        for found in table(stage, asked.quick, parts):
            rows.append(found)
            print(shown(found) if asked.table else found, file=sys.stderr, flush=True)
        bound = float("inf") if asked.any_build else STREAM_KB
        count = 500 if asked.quick else 3_000
        open_streams = streams(stage, count, bound) if "streams" in parts else {}
    ok = open_streams.get("ok", True) and all(each["ok"] for each in rows)
    report("memory", ok, rows=rows, streams=open_streams)


if __name__ == "__main__":
    main()

"""The chaos upstream: a model provider on raw sockets that misbehaves as the request itself asks.

    POST /s/<role>/v1/chat/completions   {"model": ..., "x_chaos": {"id": "...", "<role>": {step}}}

The role is part of the provider's base URL, so several endpoints treat one body differently; where a
client sends no field of ours, the script is the text of the first message. Steps are described in
`script.py`, the truth log in `truth.py`. HTTP/1.1 by hand, keep-alive, TLS with several certificates.
Run alone it prints one JSON line with its ports and serves until it is ended:

    python chaos.py --dir DIR [--certs DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import hashlib
import json
import os
import random
import socket
import ssl
import struct
import sys
import tempfile
from pathlib import Path
from typing import IO

import script
from truth import BODY_KEPT, TruthLog

HEAD_LIMIT = 64 << 10
RST = struct.pack("ii", 1, 0)


class Chaos:
    """State shared by all connections."""

    def __init__(self, truth: TruthLog) -> None:
        self.truth = truth
        self.hits: dict[tuple[str, str], int] = {}
        self.connections = 0

    def hit(self, id: str, role: str) -> int:
        """How often this role was asked for this id before."""
        count = self.hits.get((id, role), 0)
        self.hits[(id, role)] = count + 1
        return count


class Connection(asyncio.Protocol):
    """One connection from Weir."""

    def __init__(self, chaos: Chaos) -> None:
        self.chaos = chaos
        self.buffer = bytearray()
        self.arrived = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.left = asyncio.Event()
        self.ours = False
        self.reset_next = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.chaos.connections += 1
        self.conn = self.chaos.connections
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.task = asyncio.ensure_future(self._serve())

    def data_received(self, data: bytes) -> None:
        if self.reset_next:
            return self.reset()
        self.buffer += data
        self.arrived.set()

    def eof_received(self) -> bool:
        self._left()
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self._left()

    def _left(self) -> None:
        if not self.gone:
            self.left.set()
            how = "by_us" if self.ours else "by_peer"
            self.chaos.truth.write("closed", conn=self.conn, how=how)
        self.arrived.set()
        self.writable.set()

    @property
    def gone(self) -> bool:
        return self.left.is_set()

    async def _pause(self, seconds: float) -> None:
        """Sleeps, unless the connection ends before."""
        try:
            await asyncio.wait_for(self.left.wait(), seconds)
        except TimeoutError:
            pass

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def reset(self) -> None:
        """Ends the connection with RST."""
        self.ours = True
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
        self.transport.abort()

    def close(self) -> None:
        """Ends the connection with FIN, after what was written."""
        self.ours = True
        self.transport.close()

    async def _need(self, enough) -> bool:
        while not enough():
            if self.gone:
                return False
            self.arrived.clear()
            await self.arrived.wait()
        return True

    async def _serve(self) -> None:
        try:
            while not self.gone and not self.transport.is_closing():
                if not await self._one():
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass
        except Exception as error:  # a bug of the harness must be seen, not hang a test
            self.chaos.truth.write("harness_error", conn=self.conn, error=repr(error))
            self.reset()

    async def _one(self) -> bool:
        """Reads one request and answers it; false when nothing may follow."""
        if not await self._need(lambda: b"\r\n\r\n" in self.buffer or len(self.buffer) > HEAD_LIMIT):
            return False
        end = self.buffer.index(b"\r\n\r\n")
        lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        del self.buffer[: end + 4]
        method, target, _ = lines[0].split(" ", 2)
        headers = [[name.lower(), value.strip()] for name, _, value in (line.partition(":") for line in lines[1:])]
        lengths = [int(value) for name, value in headers if name == "content-length"]
        length = lengths[0] if lengths else 0
        if not await self._need(lambda: len(self.buffer) >= length):
            self.chaos.truth.write("half_request", conn=self.conn, target=target, got=len(self.buffer))
            return False
        body = bytes(self.buffer[:length])
        del self.buffer[:length]
        return await self._answer(method, target, headers, body)

    async def _answer(self, method: str, target: str, headers: list, body: bytes) -> bool:
        role, operation = _parts(target)
        document = _document(body)
        chaos = _script(document)
        id = str(chaos.get("id", ""))
        hit = self.chaos.hit(id, role)
        self.chaos.truth.write(
            "request", id=id, role=role, hit=hit, conn=self.conn, method=method, target=target,
            headers=headers, length=len(body), sha256=hashlib.sha256(body).hexdigest(),
            framing=[pair for pair in headers if pair[0] in ("content-length", "transfer-encoding")],
            body=body.decode("latin-1") if len(body) <= BODY_KEPT else None,
        )
        if method == "GET":
            return await self._send(script.Plan(200, [["content-type", "application/json"]],
                                                [script.Piece(b'{"object":"list","data":[]}')]), {})
        steps = chaos.get(role, chaos.get("*", {}))
        step = steps[min(hit, len(steps) - 1)] if isinstance(steps, list) else steps
        asked = (document.get("stream_options") or {}).get("include_usage") is True
        authorization = next((value for name, value in headers if name == "authorization"), "")
        request = script.Request(role, id, hit, operation, str(document.get("model")),
                                 document.get("stream") is True, asked, authorization)
        key = {"id": id, "role": role, "hit": hit}
        what = step.get("do", "reply")
        if what != "reply":
            self.chaos.truth.write("plan", **key, status=0, fate=what, upstream_id="", bytes=0)
            if what == "wire":
                return await self._wire(step, key)
            return await self._misbehave(what, step)
        plan = script.plan(step, request)
        self.chaos.truth.write("plan", **key, status=plan.status, fate=plan.fate,
                               upstream_id=request.upstream_id, bytes=len(plan.body))
        return await self._send(plan, key)

    async def _misbehave(self, what: str, step: dict) -> bool:
        if what == "silence":
            await self._pause(step.get("hold", 30.0))
            self.close()
        elif what == "garbage":
            self.transport.write(step.get("raw", "\x16\x03\x01 no HTTP at all\r\n\r\n").encode("latin-1"))
            self.close()
        elif what == "close":
            self.close()
        else:
            self.reset()
        return False

    async def _wire(self, step: dict, key: dict) -> bool:
        """Sends exactly these bytes, head and framing included; the connection may serve on."""
        sent = 0
        for piece in script.wire(step):
            if piece.wait:
                await self._pause(piece.wait)
            await self.writable.wait()
            if self.gone or self.transport.is_closing():
                self.chaos.truth.write("end", **key, sent=sent, how="caller_gone")
                return False
            self.transport.write(piece.data)
            sent += len(piece.data)
            await asyncio.sleep(0)
        self.chaos.truth.write("end", **key, sent=sent, how="complete")
        if step.get("then", "keep") == "close":
            self.close()
            return False
        return True

    async def _send(self, plan: script.Plan, key: dict) -> bool:
        sent = 0
        if plan.head_delay:
            await self._pause(plan.head_delay)
        self.transport.write(_head(plan))
        for piece in plan.pieces:
            if piece.wait:
                await self._pause(piece.wait)
            await self.writable.wait()
            if self.gone or self.transport.is_closing():
                self.chaos.truth.write("end", **key, sent=sent, how="caller_gone")
                return False
            if piece.usage:
                self.chaos.truth.write("usage", **key, usage=piece.usage)
            self.transport.write(_framed(plan.framing, piece.data))
            sent += len(piece.data)
            await asyncio.sleep(0)  # each piece is a write of its own
        how = plan.fate if plan.cut else "complete"
        self.chaos.truth.write("end", **key, sent=sent, how=how)
        if plan.cut:
            return await self._cut(plan)
        if plan.framing == "chunked":
            self.transport.write(b"0\r\n\r\n")
        return await self._then(plan)

    async def _cut(self, plan: script.Plan) -> bool:
        how = plan.cut["how"]
        await self._pause(plan.cut["after"])
        if how == "stall":
            await self._pause(plan.cut.get("hold", 30.0))
            self.close()
        elif how == "fin":
            self.close()
        elif how == "end":  # a clean end of the framing, without the terminal event
            self.transport.write(b"0\r\n\r\n" if plan.framing == "chunked" else b"")
            return await self._then(plan)
        else:
            await self._pause(0.05)  # let what was sent arrive: RST discards what was not read
            self.reset()
        return False

    async def _then(self, plan: script.Plan) -> bool:
        then = plan.then
        if plan.framing == "close" or then == "close":
            self.close()
            return False
        if then == "reset_next":
            self.reset_next = True
        if isinstance(then, dict) and "idle_data" in then:
            await self._pause(then.get("after", 0.0))
            self.transport.write(then["idle_data"].encode())
            return True
        if isinstance(then, dict):
            await self._pause(then["close_after"])
            self.close()
            return False
        return True


def _parts(target: str) -> tuple[str, str]:
    """Role and operation of a path `/s/<role>/v1/chat/completions`."""
    path = target.partition("?")[0].strip("/").split("/")
    role = path[1] if len(path) > 1 and path[0] == "s" else ""
    last = path[-1]
    return role, "chat" if path[-2:] == ["chat", "completions"] else last


def _document(body: bytes) -> dict:
    try:
        document = json.loads(body) if body else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _script(document: dict) -> dict:
    """`x_chaos`, a field or the JSON that is the first message."""
    if "x_chaos" in document:
        return document["x_chaos"] or {}
    try:
        return json.loads(document["messages"][0]["content"])["x_chaos"]
    except (KeyError, IndexError, TypeError, ValueError):
        return {}


def _head(plan: script.Plan) -> bytes:
    reason = {200: "OK"}.get(plan.status, "Chaos")
    headers = list(plan.headers)
    if plan.framing == "chunked":
        headers.append(["transfer-encoding", "chunked"])
    elif plan.framing == "length":
        whole = len(plan.body) + (1000 if plan.cut else 0)
        headers.append(["content-length", str(whole)])
    else:
        headers.append(["connection", "close"])
    lines = [f"HTTP/1.1 {plan.status} {reason}"] + [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _framed(framing: str, data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data) if framing == "chunked" else data


def listening(host: str = "127.0.0.1") -> socket.socket:
    """A listening socket on a free port below the ephemeral range."""
    for _ in range(200):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = random.randint(12_000, 31_999)
        try:
            with reserved(port):
                sock.bind((host, port))
                sock.listen(1024)
            return sock
        except OSError:
            sock.close()
    raise RuntimeError("no free port")


def reserved(port: int) -> IO:
    """Keeps every other test on this machine from taking a port, until closed; OSError if one has it."""
    place = Path(tempfile.gettempdir()) / f"weir-test-ports-{os.getuid()}"
    place.mkdir(exist_ok=True)
    lock = open(place / str(port), "ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


async def _main(args: argparse.Namespace) -> None:
    directory = Path(args.dir)
    chaos = Chaos(TruthLog(directory / "truth.jsonl"))
    loop = asyncio.get_running_loop()
    ports = {}
    servers = [("plain", None)]
    for key in sorted(Path(args.certs).glob("*.key")) if args.certs else []:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(key.with_suffix(".pem"), key)
        servers.append((key.stem, context))
    for name, context in servers:
        sock = listening()
        ports[name] = sock.getsockname()[1]
        await loop.create_server(lambda: Connection(chaos), sock=sock, ssl=context)
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # lives as long as who started it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", required=True, help="where truth.jsonl goes")
    parser.add_argument("--certs", help="folder of <name>.key and <name>.pem: one TLS listener each")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()

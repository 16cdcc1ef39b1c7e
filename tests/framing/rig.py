"""Weir in front of the four parsers, callers that send bytes, and the sums that must agree."""

from __future__ import annotations

import secrets
import socket
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))

import conf  # noqa: E402
import parsers  # noqa: E402
from client import Raw, Reply  # noqa: E402
from weir import Weir, free_ports  # noqa: E402

TARGET = "/v1/chat/completions"
SLOW = {"connect": "10s", "first_content": "20s", "idle": "20s", "total": "30s"}
"""Deadlines of providers: none is what these tests are about."""


class Rig:
    """One Weir and upstreams, `test/<name>` served by each."""

    def __init__(self, directory: Path, names: list[str] = parsers.NAMES) -> None:
        self.held: list = []
        ports = free_ports(len(names), self.held)
        self.parsers = parsers.start(dict(zip(names, ports)), directory / "parsers")
        providers = [conf.Provider(name, base_url=f"http://127.0.0.1:{parser.port}/v1", **SLOW)
                     for name, parser in self.parsers.items()]
        models = [conf.Model(f"test/{name}", [name]) for name in self.parsers]
        limits = {"limits": {"head_timeout": "20s", "body_timeout": "20s", "failed_keys": 0}}
        home = directory / "weir"
        home.mkdir(parents=True, exist_ok=True)
        deployment = conf.Deployment(providers, models, limits)
        self.weir = Weir(SimpleNamespace(port=1), deployment, home, {"RUST_LOG": "info"})
        try:
            self.weir.start()
        except BaseException:
            self.stop_parsers()
            raise

    def stop(self) -> None:
        try:
            self.weir.stop()
        finally:
            self.stop_parsers()

    def stop_parsers(self) -> None:
        for parser in self.parsers.values():
            parser.stop()

    def counts(self) -> Counter:
        """Counters of Weir: kinds of bad requests, `attempts <provider>`, of these `left <provider>` by
        their callers, `ok`, `answered`, `pipelined`."""
        found: Counter = Counter()
        for family, labels, value in self.weir.metrics():
            match family:
                case "weir_bad_request_total":
                    found[labels["kind"]] += int(value)
                case "weir_attempts_total":
                    found[f"attempts {labels['provider']}"] += int(value)
                    found[f"left {labels['provider']}"] += int(value) if labels["outcome"] == "client_abort" else 0
                case "weir_requests_total":
                    found["answered"] += int(value)
                    found["ok"] += int(value) if labels["outcome"] == "ok" else 0
                case "weir_pipelined_total":
                    found["pipelined"] += int(value)
        return +found


@dataclass
class Ask:
    """What one caller sends, and what came of it."""

    name: str
    parser: str
    id: str = field(default_factory=lambda: "v" + secrets.token_hex(8))
    reply: Reply | None = None
    closed: bool = False

    @property
    def body(self) -> bytes:
        return body(f"test/{self.parser}", self.id)

    @property
    def expected(self) -> dict:
        """What the upstream must have seen of it."""
        return {"method": "POST", "target": TARGET, "body": body(f"up-{self.parser}", self.id).decode()}

    def second(self, key: str) -> bytes:
        """A request that must never be served."""
        hidden = body(f"test/{self.parser}", "hidden" + self.id)
        head = f"POST {TARGET} HTTP/1.1\r\nHost: weir\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(hidden)}\r\n\r\n"
        return head.encode() + hidden


def body(model: str, id: str) -> bytes:
    return b'{"model":"%s","messages":[{"role":"user","content":"%s"}]}' % (model.encode(), id.encode())


def send(raw: Raw, pieces: Iterable[bytes], fin: bool = False) -> None:
    """Sends each piece on its own; a caller who is refused before its end goes on."""
    try:
        for piece in pieces:
            raw.sock.sendall(piece)
        if fin:
            raw.sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def is_closed(raw: Raw) -> bool:
    """Whether Weir ends the connection now, and with nothing more to say."""
    try:
        return raw.sock.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def split(data: bytes, sizes: list[int]) -> list[bytes]:
    """Pieces of these sizes in turn, without end."""
    pieces, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)] or len(data)
        pieces.append(data[at : at + size])
        at, turn = at + size, turn + 1
    return pieces


def everyone(work, asks: list, threads: int = 8) -> None:
    """Does the work for each, several at once; the first error is raised."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, asks):
            pass

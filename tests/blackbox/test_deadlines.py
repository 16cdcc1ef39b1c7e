"""What a caller may take its time for, and what not (P2, P3, P4, S1 to S3; F45 to F48)."""

from __future__ import annotations

import contextlib
import socket
import struct
import time

import expect
import pytest
from client import Raw, head
from h2client import H2Caller
from test_edges import closed, dripped, served
from test_faults_wire import HELLO, SSE, wire
from test_listeners import install, trusting
from weir import request

PATH = "/v1/chat/completions"
H2C = {"listener": {"h2c": True}}
LONG = {"total": "60s", "idle": "60s", "first_content": "9s"}
MUCH = {"a": {"text": ["x" * 65536] * 60}}
"""More than both kernels hold for a caller who reads nothing."""
ENDLESS = {"a": wire(SSE + "connection: close\r\n\r\n", {"fill": HELLO * 1_000, "times": 4_000}, then="close")}


def missed(weir, deadline: str, count: int = 1) -> None:
    """So many callers missed this deadline, and none another one."""
    weir.settles(count, "deadlines_total", deadline=deadline)
    assert weir.metric("deadlines_total") == count


def own_idle(run, changes: dict, **more):
    """A Weir on which no connection of the test's own start is left to be counted as idle."""
    weir = run("a", changes, **more)
    weir.settles(0, "deadlines_total")
    return weir


# F45: what is sent must be taken


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F45_a_caller_who_takes_nothing_is_cut_off_and_paid_for(run, path):
    weir = run("a", {"limits": {"write_timeout": "1s"}}, a=LONG)
    with weir.asking(MUCH, path=path) as (id, raw):
        raw.read_until(b"xxx")
        (row,) = weir.ledger.wait(1, seconds=10, session=id)
        assert (row["outcome"], row["committed"], row["source"]) == ("client_abort", 1, "estimated")
        assert row["charge"] == row["cost"] > 0
        weir.settles(0, "in_flight")
        missed(weir, "write")
        with pytest.raises(ConnectionResetError):  # or the kernel would go on for hours
            while raw.read_some():
                pass


def test_F45_a_trickle_below_the_rate_is_cut_off(run):
    """Something is taken well within every second: only the rate tells it from a good caller."""
    weir = run("a", {"limits": {"write_timeout": "2s", "min_send_rate": "4MiB"}}, a=LONG | {"first_content": "50s"})
    with weir.asking(ENDLESS) as (id, raw):
        raw.sock.settimeout(50)
        deadline = time.monotonic() + 50
        while not weir.metric("deadlines_total", deadline="write"):
            assert time.monotonic() < deadline, "never cut off"
            with contextlib.suppress(ConnectionError):
                for _ in range(20):
                    raw.sock.recv(65536)
            time.sleep(0.7)
        weir.rows(id, 1)
    missed(weir, "write")


def test_F45_a_caller_who_stalls_and_catches_up_gets_everything(run):
    """Longer in all than the time for one stall, and with stalls longer than a second."""
    weir = run("a", {"limits": {"write_timeout": "3s"}}, a=LONG)
    with weir.asking({"a": {"text": ["x" * 65536] * 200}}) as (id, raw):
        for _ in range(3):
            time.sleep(1.6)
            raw.read_until(b"xxx")
            for _ in range(60):
                raw.read_some()
        reply = raw.read()
    assert reply.ended == "clean" and reply.text == "x" * 65536 * 200 and reply.done
    expect.row(weir.rows(id, 1)[0], "a", "ok", "reported")
    assert weir.metric("deadlines_total") == 0


def test_F45_an_h2_stream_with_a_shut_window_is_cut_off_alone(run):
    weir = run("a", H2C | {"limits": {"write_timeout": "1s"}}, a=LONG)
    with H2Caller(weir.port) as caller:
        id, body = weir.body(MUCH, stream=True)
        stream = caller.post(PATH, [weir.bearer], body)
        caller.flush()
        while stream not in caller.ended:
            caller.read(take=False)
        (row,) = weir.ledger.wait(1, seconds=10, session=id)
        assert row["outcome"] == "client_abort"
        missed(weir, "write")
        assert not caller.gone


def test_F45_an_h2_connection_that_takes_nothing_is_cut_off(run):
    """All its windows are open: only the socket is full."""
    weir = run("a", H2C | {"limits": {"write_timeout": "1s"}}, a=LONG)
    with H2Caller(weir.port) as caller:
        caller.conn.increment_flow_control_window(1 << 30)
        id, body = weir.body(MUCH, stream=True)
        stream = caller.post(PATH, [weir.bearer], body)
        caller.conn.increment_flow_control_window(1 << 30, stream)
        caller.flush()
        (row,) = weir.ledger.wait(1, seconds=10, session=id)
        assert row["outcome"] == "client_abort"
    weir.settles(0, "in_flight")
    assert weir.metric("deadlines_total", deadline="write") >= 1


# F46: half a connection


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("stream", [True, False])
def test_F46_a_caller_who_shuts_its_side_has_left(run, path, stream):
    """Nothing hangs, and what was delivered is paid for."""
    weir = run("a", a=LONG)
    step = {"text": ["word "] * 200, "pace": 0.02} if stream else {"head_delay": 4}
    with weir.asking({"a": step}, path=path, stream=stream) as (id, raw):
        if stream:
            raw.read_until(b"word")
        else:
            weir.chaos.truth.wait("request", id=id)
        raw.sock.shutdown(socket.SHUT_WR)
        assert closed(raw, 3) is not None
        (row,) = weir.rows(id, 1)
    assert row["outcome"] == "client_abort" and row["committed"] == stream
    assert (row["charge"] > 0) or not stream
    weir.settles(1, "client_abort_total")
    weir.settles(0, "in_flight")


def test_F46_half_a_request_and_a_shut_side_leave_nothing(run):
    weir = run("a")
    _, body = weir.body()
    whole = request(PATH, [weir.bearer], body)
    for size in (10, len(whole) - 5):
        with weir.connect() as raw:
            raw.send(whole[:size])
            raw.sock.shutdown(socket.SHUT_WR)
            assert closed(raw, 3) is not None
    weir.settles(0, "attempts_total")


# F47: heads, each of a connection (their time is measured in test_edges)


@pytest.mark.parametrize("before", [0, 2], ids=["first", "third"])
def test_F47_a_slow_head_is_counted(run, before):
    weir = run("a", {"limits": {"head_timeout": "1s"}})
    with weir.connect() as raw:
        for _ in range(before):
            served(raw, weir)
        dripped(raw, head("POST", PATH, [("host", "w")]), 0.2)
    missed(weir, "head")
    assert weir.metric("requests_total") == before


# F48: bodies


FRAMINGS = {"length": [("content-length", "500000")], "chunked": [("transfer-encoding", "chunked")]}


@pytest.mark.parametrize("sent", [0, 1], ids=["nothing", "a beginning"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_F48_a_body_that_stops_ends_at_its_time(run, framing, sent):
    weir = run("a", {"limits": {"body_timeout": "1s"}})
    with weir.connect() as raw:
        raw.send(head("POST", PATH, [("host", "w"), weir.bearer, *FRAMINGS[framing]]))
        raw.send((b'{"model"' if framing == "length" else b'8\r\n{"model"\r\n') * sent)
        reply = raw.read()
    assert expect.refused(reply, 408)["code"] == 408
    assert 0.8 < reply.ended_at < 2.5
    missed(weir, "body")
    weir.settles(0, "attempts_total")
    weir.settles(1, "requests_total", outcome="caller_fault")


@pytest.mark.parametrize("framing", FRAMINGS)
def test_F48_a_body_below_the_rate_ends_and_one_above_it_is_served(run, framing):
    """One second, and one more for every 20 kB that have come."""
    weir = run("a", {"limits": {"body_timeout": "1s", "min_body_rate": "20000B"}})
    for step, status in ((2_000, 408), (20_000, 200)):
        id, body = weir.body(stream=False)
        body += b" " * (80_000 - len(body))
        sent = [("content-length", str(len(body)))] if framing == "length" else FRAMINGS[framing]
        with weir.connect() as raw:
            raw.send(head("POST", PATH, [("host", "w"), weir.bearer, *sent]))
            for at in range(0, len(body), step):
                part = body[at : at + step]
                raw.send(part if framing == "length" else b"%x\r\n%s\r\n" % (len(part), part))
                time.sleep(0.4)
                if closed_now(raw):
                    break
            raw.send(b"0\r\n\r\n" if framing == "chunked" else b"")
            assert raw.read().status == status
    missed(weir, "body")


def closed_now(raw: Raw) -> bool:
    """Whether an answer or the end has come, without taking it."""
    raw.sock.setblocking(False)
    try:
        raw.sock.recv(1, socket.MSG_PEEK)
        return True
    except BlockingIOError:
        return False
    finally:
        raw.sock.settimeout(raw.timeout)


@pytest.mark.parametrize("drip", [False, True])
def test_F48_an_h2_body_has_the_same_time_and_its_connection_lives(run, drip):
    weir = run("a", H2C | {"limits": {"body_timeout": "1s"}})
    with H2Caller(weir.port) as caller:
        stream = caller.conn.get_next_available_stream_id()
        fixed = [(":method", "POST"), (":path", PATH), (":scheme", "http"), (":authority", "w")]
        caller.conn.send_headers(stream, [*fixed, weir.bearer])
        caller.body[stream] = b""
        caller.flush()
        began = time.monotonic()
        caller.sock.settimeout(0.1)
        while stream not in caller.status:
            assert time.monotonic() - began < 4, "no answer"
            if drip:
                caller.conn.send_data(stream, b"{")
                caller.flush()
            try:
                caller.read()
            except TimeoutError:
                pass
        assert caller.status[stream] == 408 and time.monotonic() - began > 0.8
        missed(weir, "body")
        caller.sock.settimeout(8)
        _, body = weir.body(stream=False)
        second = caller.post(PATH, [weir.bearer], body)
        caller.flush()
        while second not in caller.ended:
            caller.read()
        assert caller.status[second] == 200 and not caller.gone


# P2: idle connections


@pytest.mark.parametrize("before", [0, 1], ids=["new", "kept"])
def test_P2_an_idle_connection_is_closed_at_its_time_and_counted(run, before):
    weir = own_idle(run, {"limits": {"keepalive_idle": "1s"}})
    with weir.connect() as raw:
        for _ in range(before):
            served(raw, weir)
        assert 0.8 < closed(raw, 5) < 2
    missed(weir, "idle")


def test_P2_a_caller_who_leaves_is_not_counted_as_idle(run):
    weir = own_idle(run, {"limits": {"keepalive_idle": "1s"}})
    with weir.connect() as raw:
        served(raw, weir)
    with weir.connect():
        pass
    with weir.connect() as raw:
        raw.reset()
    time.sleep(1.2)
    assert weir.metric("deadlines_total") == 0


# TLS


@pytest.fixture
def tls(run, chaos, tmp_path):
    """A Weir whose callers have a second for a TLS handshake, and a context to connect with."""
    files = {"certificate": tmp_path / "chain.pem", "key": tmp_path / "key.pem"}
    install(chaos, "good", files)
    listener = {"tls": {name: str(path) for name, path in files.items()}}
    limits = {"handshake_timeout": "1s", "connections": 3, "connections_per_address": 3}
    weir = run("a", {"limits": limits, "listener": listener})
    weir.settles(1, "handshakes_failed_total")  # the start's own look at the port
    return weir, trusting(chaos, ["http/1.1"])


def hello(context) -> bytes:
    """The first flight of a TLS handshake."""
    import ssl

    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    return out.read()


@pytest.mark.parametrize("sent", ["nothing", "a byte", "a byte at a time", "all but its end", "a whole hello"])
def test_a_handshake_that_does_not_come_is_cut_at_its_time(tls, sent):
    weir, context = tls
    first = hello(context)
    with weir.connect() as raw:
        if sent == "a byte at a time":
            assert 0.8 < dripped(raw, first, 0.2) < 2
        else:
            raw.send({"nothing": b"", "a byte": first[:1], "all but its end": first[:-1]}.get(sent, first))
            assert 0.8 < closed(raw, 5) < 2
    missed(weir, "handshake")


def test_a_handshake_that_is_none_is_counted_and_not_logged(tls):
    weir, _ = tls
    before = len(weir.log.read_text())
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(100), b"\x15\x03\x03\x00\x02\x02\x28"):
        with weir.connect() as raw:
            raw.send(garbage)
            assert closed(raw, 5) < 1
    weir.settles(4, "handshakes_failed_total")
    said = weir.log.read_text()[before:]
    assert "ERROR" not in said and "WARN" not in said, said


def test_F60_a_handshake_holds_a_place_and_gives_it_back(tls):
    weir, context = tls
    held = [weir.connect() for _ in range(3)]
    deadline = time.monotonic() + 2
    while not weir.metric("conn_refused_total", cap="total"):
        assert time.monotonic() < deadline, "three handshakes take no place"
        with weir.connect() as raw:
            closed(raw, 0.3)
    for raw in held:
        assert closed(raw, 3) is not None
    with weir.connect() as raw:
        raw.sock = context.wrap_socket(raw.sock, server_hostname="localhost")
        time.sleep(1.3)  # the handshake's time is not the connection's
        served(raw, weir)
    assert weir.metric("deadlines_total", deadline="handshake") == 3


def test_a_connection_that_is_reset_in_its_handshake_is_no_deadline(tls):
    weir, context = tls
    with weir.connect() as raw:
        raw.send(hello(context)[:20])
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    weir.settles(2, "handshakes_failed_total")
    assert weir.metric("deadlines_total") == 0

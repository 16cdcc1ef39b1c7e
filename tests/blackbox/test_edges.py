"""Caps and deadlines before there is a request (P1, P2, P6, S1, S4, S9; F47, F60)."""

from __future__ import annotations

import signal
import time

import expect
import pytest
from client import Raw, head
from h2client import H2Caller
from test_listeners import install, trusting

PATH = "/v1/chat/completions"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
QUICK = {"limits": {"head_timeout": "1s"}}


def served(raw: Raw, weir) -> None:
    """One whole request on this connection."""
    _, body = weir.body(stream=False)
    expect.whole(raw.ask("POST", PATH, [weir.bearer], body))


def told(raw: Raw, data: bytes, pause: float = 0.2) -> tuple[int, float]:
    """The status that ends a head sent byte by byte, and when."""
    after = dripped(raw, data, pause)
    reply = raw.read()
    assert reply.ended == "clean" and reply.json()["error"]["code"] == reply.status
    return reply.status, after


def closed(raw: Raw, at_most: float) -> float | None:
    """Seconds until Weir closes the connection; None if it is still open after `at_most`."""
    began = time.monotonic()
    raw.sock.settimeout(at_most)
    try:
        while raw.read_some():
            pass
    except TimeoutError:
        return None
    except ConnectionError:
        pass
    return time.monotonic() - began


def dripped(raw: Raw, data: bytes, pause: float) -> float:
    """Sends a byte every `pause` seconds; seconds from the first until Weir closed."""
    began = time.monotonic()
    for byte in data:
        raw.send(bytes([byte]))
        if closed(raw, pause) is not None:
            break
    return time.monotonic() - began


def fields(count: int, weir) -> list[tuple[str, str]]:
    """So many fields, with the three every request here has."""
    return [weir.bearer, *((f"x-{index}", "v") for index in range(count - 3))]


def padded(size: int, weir, body: bytes) -> bytes:
    """A request with a head of exactly this size."""
    fixed = [("host", "w"), weir.bearer, ("content-length", str(len(body))), ("x-pad", "")]
    fixed[-1] = ("x-pad", "p" * (size - len(head("POST", PATH, fixed))))
    made = head("POST", PATH, fixed)
    assert len(made) == size
    return made + body


# The head's time


@pytest.mark.parametrize("before", [0, 2], ids=["first", "third"])
def test_F47_a_head_byte_by_byte_is_cut_at_its_time(run, before):
    weir = run("a", QUICK)
    with weir.connect() as raw:
        for _ in range(before):
            served(raw, weir)
        status, after = told(raw, head("POST", PATH, [("host", "w")]))
        assert status == 408 and 0.9 < after < 1.7
    weir.settles(before, "attempts_total")


def test_F47_a_byte_a_second_is_cut(run):
    weir = run("a", QUICK)
    with weir.connect() as raw:
        assert 0.9 < dripped(raw, b"POST /v1", 1.0) < 2.2


def test_a_silent_connection_has_its_own_longer_time(run):
    weir = run("a", QUICK)
    with weir.connect() as raw:
        assert closed(raw, 1.6) is None
        served(raw, weir)
        assert closed(raw, 1.6) is None
        served(raw, weir)


def test_a_body_and_an_answer_may_take_longer_than_a_head(run):
    weir = run("a", QUICK, a={"first_content": "5s"})
    id, body = weir.body({"a": {"head_delay": 1.5}}, stream=False)
    with weir.connect() as raw:
        raw.send(head("POST", PATH, [("host", "w"), weir.bearer, ("content-length", str(len(body)))]))
        time.sleep(1.5)
        raw.send(body)
        expect.whole(raw.read())
        served(raw, weir)


# The head's size


@pytest.mark.parametrize(("size", "fits"), [(32 << 10, True), ((32 << 10) + 1, False), (33 << 10, False)])
@pytest.mark.parametrize("again", [False, True])
def test_S4_bytes_of_a_head(run, size, fits, again):
    weir = run("a")
    _, body = weir.body(stream=False)
    with weir.connect() as raw:
        if again:
            served(raw, weir)
        raw.send(padded(size, weir, body))
        if fits:
            expect.whole(raw.read())
            served(raw, weir)
        else:
            assert closed(raw, 3) is not None
            assert raw.buffer.startswith(b"HTTP/1.1 431 ") or size > (32 << 10) + 1
    weir.settles(again + 2 * fits, "attempts_total")


@pytest.mark.parametrize(("count", "status"), [(100, 200), (101, 431), (256, 431)])
def test_S4_fields_of_a_head(run, count, status):
    weir = run("a")
    _, body = weir.body(stream=False)
    with weir.connect() as raw:
        reply = raw.ask("POST", PATH, fields(count, weir), body)
    assert reply.status == status, reply.body
    if status == 431:
        assert reply.json()["error"]["code"] == 431


def test_S4_an_h2_head_has_its_bounds(run):
    """Half of an HTTP/1 head's bytes, because a compressed list costs its sender next to nothing (P5)."""
    weir = run("a", {"listener": {"h2c": True}})
    _, body = weir.body(stream=False)
    with H2Caller(weir.port) as caller:
        for fields, status in [([("x", "v" * (15 << 10))], 200), ([("x", "v" * (17 << 10))], 431),
                               ([(f"x-{index}", "v") for index in range(100)], 431)]:
            stream = caller.post(PATH, [weir.bearer, *fields], body)
            caller.flush()
            while stream not in caller.ended and not caller.gone:
                caller.read()
            assert caller.status.get(stream) == status


# The preface


@pytest.mark.parametrize("sent", [0, 1, 23])
def test_a_preface_that_does_not_come_is_cut(run, sent):
    weir = run("a", QUICK | {"listener": {"h2c": True}})
    with weir.connect() as raw:
        raw.send(PREFACE[:sent])
        assert 0.9 < closed(raw, 5) < 1.7


def test_an_http1_head_on_an_h2c_listener_is_timed_from_the_connect(run):
    weir = run("a", QUICK | {"listener": {"h2c": True}})
    with weir.connect() as raw:
        time.sleep(0.6)
        raw.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
        assert closed(raw, 5) < 0.8
    with weir.connect() as raw:
        served(raw, weir)
        assert closed(raw, 1.6) is None
        served(raw, weir)


def test_an_h2c_connection_outlives_the_time_of_a_head(run):
    weir = run("a", QUICK | {"listener": {"h2c": True}})
    with H2Caller(weir.port) as caller:
        caller.flush()
        for _ in range(2):
            time.sleep(1.4)
            _, body = weir.body(stream=False)
            stream = caller.post(PATH, [weir.bearer], body)
            caller.flush()
            while stream not in caller.ended:
                caller.read()
                assert not caller.gone
            assert caller.status[stream] == 200


# TLS


@pytest.fixture
def tls(run, chaos, tmp_path):
    """A Weir that serves TLS to one connection, and makes connections."""
    files = {"certificate": tmp_path / "chain.pem", "key": tmp_path / "key.pem"}
    install(chaos, "good", files)
    limits = {"limits": {"head_timeout": "1s", "connections": 1}}
    weir = run("a", limits | {"listener": {"tls": {name: str(path) for name, path in files.items()}}})
    weir.settles(1, "handshakes_failed_total")  # the start's own look at the port gives its place back

    def connect(alpn: str) -> Raw:
        raw = weir.connect()
        raw.sock = trusting(chaos, [alpn]).wrap_socket(raw.sock, server_hostname="localhost")
        return raw
    return weir, connect


@pytest.mark.parametrize("sent", [0, 1, 23])
def test_a_preface_inside_tls_is_timed(tls, sent):
    with tls[1]("h2") as raw:
        raw.send(PREFACE[:sent])
        assert 0.9 < closed(raw, 5) < 1.7


def test_h2_inside_tls_is_not_timed_after_its_preface(tls):
    with tls[1]("h2") as raw:
        raw.send(PREFACE + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        assert closed(raw, 2) is None


def test_a_head_inside_tls_is_timed_and_the_cap_holds(tls):
    weir, connect = tls
    with connect("http/1.1") as raw:
        served(raw, weir)
        for alpn in ("http/1.1", "h2"):
            with pytest.raises(OSError):  # before any handshake
                connect(alpn)
        assert weir.metric("conn_refused_total") == 2
        assert 0.9 < dripped(raw, head("POST", PATH, [("host", "w")]), 0.2) < 1.7


# The cap


def capped(run, count: int, **listener: object):
    """A Weir with so many places, all of them free."""
    caps = {"connections": count, "connections_per_address": count}
    weir = run("a", {"limits": caps, "listener": listener})
    time.sleep(0.2)  # the start's own look at the port gives its place back
    return weir


@pytest.mark.parametrize("h2c", [False, True])
def test_F60_connections_over_the_cap_are_closed_and_counted(run, h2c):
    weir = capped(run, 5, h2c=h2c)
    refused = weir.metric("conn_refused_total")
    held = [weir.connect() for _ in range(5)]
    for raw in held:
        served(raw, weir)
    for extra in range(1, 4):
        with weir.connect() as raw:
            assert closed(raw, 2) < 1
        weir.settles(refused + extra, "conn_refused_total")
    weir.get_admin("/healthz")
    served(held[0], weir)
    held.pop().close()
    deadline = time.monotonic() + 3
    while True:
        with weir.connect() as raw:
            if closed(raw, 0.3) is None:
                served(raw, weir)
                break
        assert time.monotonic() < deadline, "the place is not free again"
    for raw in held:
        raw.close()


def test_an_h2_connection_holds_one_place_for_all_its_streams(run):
    weir = capped(run, 2, h2c=True)
    with H2Caller(weir.port) as caller, weir.connect() as raw:
        for _ in range(3):
            _, body = weir.body(stream=False)
            stream = caller.post(PATH, [weir.bearer], body)
            caller.flush()
            while stream not in caller.ended:
                caller.read()
        served(raw, weir)
        with weir.connect() as third:
            assert closed(third, 2) < 1


def test_a_reload_changes_caps_for_new_connections(run):
    weir = run("a", {"limits": {"connections": 2, "connections_per_address": 9, "head_timeout": "30s"}})
    time.sleep(0.2)
    with weir.connect() as old:
        served(old, weir)
        settings = weir.conf / "weir.toml"
        text = settings.read_text()
        assert "connections = 2" in text and '"30s"' in text
        settings.write_text(text.replace("connections = 2", "connections = 3").replace('"30s"', '"1s"'))
        weir.process.send_signal(signal.SIGHUP)
        weir.settles(1, "reload_total", result="applied")
        with weir.connect() as second, weir.connect() as third:
            served(second, weir)
            assert 0.9 < dripped(third, b"POST /v1/cha", 0.2) < 1.7
        old.send(b"POST ")
        assert closed(old, 1.6) is None, "an old connection keeps its limits"

"""How much callers may hold at once: connections by address, requests in all and by key (S9, F60)."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import time

import expect
import pytest
from client import Raw, head
from h2client import H2Caller
from test_edges import closed, served
from weir import request

PATH = "/v1/chat/completions"
SLOW = {"a": {"head_delay": 2}}


# Connections


def connect(weir, source: str) -> Raw:
    """A connection from another address of this host."""
    raw = weir.connect()
    raw.sock.close()
    raw.sock = socket.create_connection(("127.0.0.1", weir.port), timeout=5, source_address=(source, 0))
    return raw


def test_F60_an_address_has_its_own_cap_and_others_are_served(run):
    weir = run("a", {"limits": {"connections_per_address": 3}})
    first = [connect(weir, "127.0.0.2") for _ in range(3)]
    for raw in first:
        served(raw, weir)
    for extra in range(1, 4):
        with connect(weir, "127.0.0.2") as raw:
            assert closed(raw, 2) < 1
        weir.settles(extra, "conn_refused_total", cap="address")
    with connect(weir, "127.0.0.3") as other:
        served(other, weir)
    first.pop().close()
    deadline = time.monotonic() + 3
    while True:
        with connect(weir, "127.0.0.2") as raw:
            if closed(raw, 0.3) is None:
                served(raw, weir)
                break
        assert time.monotonic() < deadline, "the place is not free again"
    assert weir.metric("conn_refused_total", cap="total") == 0
    for raw in first:
        raw.close()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_F60_an_address_of_ipv6_counts_too(run):
    weir = run("a", {"limits": {"connections_per_address": 2}})
    settings = weir.conf / "weir.toml"
    settings.write_text(settings.read_text().replace(f'"127.0.0.1:{weir.port}"', f'"[::]:{weir.port}"'))
    weir.stop()
    weir.launch()
    held = [socket.create_connection(("::1", weir.port), timeout=5) for _ in range(2)]
    time.sleep(0.2)
    with socket.create_connection(("::1", weir.port), timeout=5) as third:
        assert third.recv(1) == b""
    with connect(weir, "127.0.0.2") as raw:
        served(raw, weir)
    for sock in held:
        sock.close()


# Requests of a key


def busy(weir, count: int, roles: dict = SLOW) -> list[Raw]:
    """Connections with a request that has reached the upstream and waits there."""
    held = []
    for _ in range(count):
        id, body = weir.body(roles)
        held.append(weir.connect())
        held[-1].send(request(PATH, [weir.bearer], body))
        weir.chaos.truth.wait("request", id=id)
    return held


def limited(reply) -> None:
    error = expect.refused(reply, 429)
    assert error["metadata"]["error_type"] == "rate_limit_exceeded"
    assert reply.headers["retry-after"] == "1"


def another_key(weir) -> tuple[str, str]:
    """A second key, listed and loaded."""
    key = "sk-or-v1-" + "ab" * 32
    keys = weir.conf / "keys.toml"
    digest = hashlib.sha256(key.encode()).hexdigest()
    keys.write_text(keys.read_text() + f'[[key]]\nname = "other"\nhash = "{digest}"\n')
    reload(weir)
    return "authorization", f"Bearer {key}"


def reload(weir) -> None:
    before = weir.metric("reload_total", result="applied")
    weir.process.send_signal(signal.SIGHUP)
    weir.settles(before + 1, "reload_total", result="applied")


PATIENT = {"first_content": "9s"}


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_S9_a_key_has_so_many_requests_at_once_and_others_are_served(run, path):
    weir = run("a", {"limits": {"requests_per_key": 2}}, a=PATIENT)
    other = another_key(weir)
    held = busy(weir, 2)
    with weir.connect() as raw:
        limited(raw.ask("POST", path, [weir.bearer], weir.body()[1]))
    weir.settles(1, "requests_shed_total", cap="key")
    weir.settles(1, "requests_total", outcome="rate_limited")
    with weir.connect() as raw:
        expect.whole(raw.ask("POST", path, [other], weir.body()[1]))
    for raw in held:
        expect.whole(raw.read())
    weir.settles(0, "in_flight")
    expect.whole(weir.ask(path=path))
    weir.settles(4, "attempts_total")
    for raw in held:
        raw.close()


def test_S9_a_refused_request_takes_no_body_and_no_place(run):
    weir = run("a", {"limits": {"requests_per_key": 1}}, a=PATIENT)
    (held,) = busy(weir, 1)
    for _ in range(5):
        with weir.connect() as raw:
            raw.send(head("POST", PATH, [("host", "w"), weir.bearer, ("content-length", "500")]))
            reply = raw.read()
            limited(reply)
            assert reply.ended_at < 4, "it waits for the body"
    expect.whole(held.read())
    expect.whole(weir.ask())
    held.close()


@pytest.mark.parametrize("end", ["close", "reset", "answer", "refusal"])
def test_S9_every_end_gives_the_place_back(run, end):
    weir = run("a", {"limits": {"requests_per_key": 1}}, a=PATIENT)
    if end == "refusal":
        for body in (b"{", b'{"model":"no/such","messages":[]}'):
            with weir.connect() as raw:
                assert raw.ask("POST", PATH, [weir.bearer], body).status == 400
    else:
        (held,) = busy(weir, 1, {"a": {"head_delay": 1}})
        {"close": held.close, "reset": held.reset, "answer": held.read}[end]()
        weir.settles(0, "in_flight")
    expect.whole(weir.ask())
    assert weir.metric("requests_shed_total") == 0


def test_S9_streams_of_one_h2_connection_count_each(run):
    weir = run("a", {"listener": {"h2c": True}, "limits": {"requests_per_key": 3}}, a=PATIENT)
    with H2Caller(weir.port) as caller:
        asked = []
        for _ in range(5):
            asked.append(caller.post(PATH, [weir.bearer], weir.body(SLOW, stream=False)[1]))
            caller.flush()
        while len(caller.ended) < 5:
            caller.read()
        assert sorted(caller.status.values()) == [200, 200, 200, 429, 429]
        refused = next(stream for stream in asked if caller.status[stream] == 429)
        assert json.loads(caller.body[refused])["error"]["code"] == 429
    weir.settles(2, "requests_shed_total", cap="key")


def test_S9_a_reload_keeps_the_count_and_a_key_may_have_its_own_number(run):
    weir = run("a", {"limits": {"requests_per_key": 2}}, a=PATIENT)
    held = busy(weir, 2)
    reload(weir)
    with weir.connect() as raw:
        limited(raw.ask("POST", PATH, [weir.bearer], weir.body()[1]))
    keys = weir.conf / "keys.toml"
    keys.write_text(keys.read_text() + "requests_at_once = 3\n")
    reload(weir)
    held += busy(weir, 1)
    with weir.connect() as raw:
        limited(raw.ask("POST", PATH, [weir.bearer], weir.body()[1]))
    for raw in held:
        expect.whole(raw.read())
        raw.close()
    weir.settles(2, "requests_shed_total")


# Requests in all


def test_S9_requests_beyond_the_total_are_shed(run):
    weir = run("a", {"limits": {"requests": 2}}, a=PATIENT)
    held = busy(weir, 2)
    reply = weir.ask()
    expect.refused(reply, 503)
    assert reply.headers["retry-after"] == "1"
    weir.settles(1, "requests_shed_total", cap="total")
    for raw in held:
        expect.whole(raw.read())
        raw.close()
    weir.settles(0, "in_flight")
    expect.whole(weir.ask())


def test_S9_a_shed_request_with_a_small_body_keeps_its_connection(run):
    """In a crowd connecting again would cost more than all refusals; a body that is announced as large,
    has no length or waits for a word of Weir's ends the connection as before."""
    weir = run("a", {"limits": {"requests": 1}}, a=PATIENT)
    (held,) = busy(weir, 1)
    _, small = weir.body(stream=False)
    with weir.connect() as kept:
        for chunk in (0, 0, 7):
            reply = kept.ask("POST", PATH, [weir.bearer], small, chunk)
            assert (reply.status, reply.ended) == (503, "clean")
            assert reply.headers["connection"] == ("close" if chunk else "keep-alive")
        assert kept.read_some() == b""
    for body, more in ((b" " * (64 << 10), []), (b" " * (64 << 10) + b" ", []), (small, [("expect", "100-continue")])):
        with weir.connect() as raw:
            reply = raw.ask("POST", PATH, [weir.bearer, *more], body)
            small_enough = len(body) <= 64 << 10 and not more
            assert (reply.status, reply.headers["connection"]) == (503, "keep-alive" if small_enough else "close")
    with weir.connect() as kept:
        assert kept.ask("POST", PATH, [weir.bearer], small).status == 503
        expect.whole(held.read())
        held.close()
        weir.settles(0, "in_flight")
        reply = kept.ask("POST", PATH, [weir.bearer], small)
        assert (reply.status, reply.ended) == (200, "clean")


# Descriptors


def nofile(weir, soft: int, hard: int) -> None:
    """Starts it anew with these limits of file descriptors."""
    weir.stop()
    weir.prefix = ["prlimit", f"--nofile={soft}:{hard}"]
    weir.launch()


def test_S9_the_caps_follow_from_the_descriptors_and_are_said(run):
    weir = run("a")
    nofile(weir, 256, 1000)
    said = weir.logged("limits descriptors=1000")
    assert "connections=450 per_address=225 requests=350" in said
    limits = open(f"/proc/{weir.process.pid}/limits").read()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == ["1000", "1000"], "the soft limit is raised to the hard one"


def test_S9_check_warns_of_caps_beyond_the_descriptors(run):
    weir = run("a", {"limits": {"connections": 500, "requests": 100}})
    weir.prefix = ["prlimit", "--nofile=256:1000"]
    said = weir.check()
    assert said.returncode == 0
    assert "limits.connections: is more than 45 % of the 1000 file descriptors" in said.stdout
    assert "limits.requests" not in said.stdout
    weir.prefix = []
    assert "45 %" not in weir.check().stdout

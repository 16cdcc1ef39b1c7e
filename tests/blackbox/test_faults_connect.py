"""Faults while connecting (reliability.md, section 3 A)."""

import socket
import threading
import time

import expect
import pytest
from chaos import listening

def closed(port: int = 1) -> dict:
    """A provider at a port where nothing listens."""
    return {"base_url": f"http://127.0.0.1:{port}/v1"}


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("stream", [True, False])
def test_F01_refused_goes_to_the_next_endpoint(run, path, stream):
    weir = run("ab", a=closed())
    answer = weir.ask(path=path, stream=stream)
    expect.whole(answer)
    (row,) = answer.rows(1)
    expect.row(row, "b", "ok", "reported", attempt=1)
    expect.paid(row, weir.deployment.cost("b", expect.INPUT, expect.OUTPUT))
    weir.settles(1, "attempts_total", provider="a", outcome="refused")
    weir.settles(1, "retries_total")


def test_F01_all_refused_is_502_and_leaves_no_row(run):
    weir = run("ab", a=closed(1), b=closed(2))
    answer = weir.ask()
    expect.refused(answer, 502)
    weir.settles(2, "attempts_total", outcome="refused")
    weir.settles(1, "requests_total", outcome="failed")
    answer.rows(0)


@pytest.mark.parametrize("certificate", ["expired", "wronghost", "unknown"])
def test_F05_a_bad_certificate_gets_no_byte(run, chaos, certificate):
    base = f"https://localhost:{chaos.ports[certificate]}/s/a/v1"
    weir = run("ab", a={"base_url": base, "extra": {"ca_file": str(chaos.ca)}})
    answer = weir.ask()
    expect.whole(answer)
    assert answer.seen("a") == []
    (row,) = answer.rows(1)
    expect.row(row, "b", "ok", "reported")
    weir.settles(1, "attempts_total", provider="a", outcome="tls")


def test_F05_a_good_certificate_of_a_private_authority_serves(run, chaos):
    base = f"https://localhost:{chaos.ports['good']}/s/a/v1"
    weir = run("a", a={"base_url": base, "extra": {"ca_file": str(chaos.ca)}})
    answer = weir.ask()
    expect.whole(answer)
    expect.row(answer.rows(1)[0], "a", "ok", "reported")


def test_F07_a_stale_connection_is_replayed_once_on_a_fresh_one(run):
    weir = run("a")
    first = weir.ask({"a": {"then": "reset_next"}})
    expect.whole(first)
    first.rows(1)
    time.sleep(0.2)  # the connection goes back to the pool after its caller has the last byte
    answer = weir.ask()
    expect.whole(answer)
    lost, good = answer.rows(2)
    expect.row(lost, "a", "reset", attempt=1)
    expect.free(lost)
    expect.row(good, "a", "ok", "reported", attempt=2)
    assert len(answer.seen("a")) == 1, "the upstream must see the request once"
    weir.settles(1, "stale_conn_total")


@pytest.mark.parametrize("slug", list("abcd"))
def test_F07_a_replay_meets_no_other_stale_connection(run, slug):
    """Neither one kept for requests nor one of an earlier replay, whatever the provider's slug hashes to."""
    weir = run(slug)
    stale = {slug: {"then": "reset_next", "first_delay": 0.3}}
    with weir.asking(stale) as (_, one), weir.asking(stale) as (_, other):
        expect.whole(one.read())
        expect.whole(other.read())
    for _ in range(2):
        time.sleep(0.2)  # the connection goes back to the pool after its caller has the last byte
        answer = weir.ask({slug: {"then": "reset_next"}})
        expect.whole(answer)
        lost, good = answer.rows(2)
        expect.row(lost, slug, "reset", attempt=1)
        expect.row(good, slug, "ok", "reported", attempt=2)
    weir.settles(2, "stale_conn_total")


def test_F07_a_connection_closed_while_idle_is_not_used(run):
    weir = run("a")
    expect.whole(weir.ask({"a": {"then": {"close_after": 0.05}}}))
    time.sleep(0.3)
    answer = weir.ask()
    expect.whole(answer)
    expect.row(answer.rows(1)[0], "a", "ok", "reported")


def test_F09_nothing_left_to_try_is_503_at_once(run):
    weir = run("ab")
    cool = {"status": 503, "headers": [["retry-after", "60"]]}
    expect.refused(weir.ask({"a": cool, "b": cool}), 503)
    answer = weir.ask()
    error = expect.refused(answer, 503)
    assert error["availability"]["affected_providers"] == ["A", "B"]
    assert 1 <= int(answer.headers["retry-after"]) <= 60, error
    assert answer.ended_at < 5, "it waits for a cooldown"
    assert answer.seen() == []
    answer.rows(0)
    weir.settles(1, "no_peer_total")


def test_F09_the_next_model_serves_when_a_model_has_nothing_left(run):
    weir = run({"test/m": "a", "test/n": "c"})
    expect.refused(weir.ask({"a": {"status": 429, "headers": [["retry-after", "60"]]}}), 429)
    answer = weir.ask(models=["test/n"])
    expect.whole(answer)
    assert answer.chunks[0]["model"] == "test/n"
    expect.row(answer.rows(1)[0], "c", "ok", "reported", model="test/n")


def test_F02_a_connection_that_is_never_accepted_times_out(run):
    full = listening()
    full.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    for sock in waiting:  # fills the backlog: the next SYN is dropped
        sock.setblocking(False)
        sock.connect_ex(full.getsockname())
    try:
        weir = run("ab", a={"base_url": f"http://127.0.0.1:{full.getsockname()[1]}/v1", "connect": "400ms"})
        answer = weir.ask()
        expect.whole(answer)
        assert answer.ended_at < 2.5
        answer.rows(1)
        weir.settles(1, "attempts_total", provider="a", outcome="connect_timeout")
    finally:
        for sock in (*waiting, full):
            sock.close()


def tls_peer(says: bytes):
    """Listens, accepts and says this in place of a handshake; then stays."""
    server = listening()
    kept = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            kept.append(connection)
            connection.sendall(says)

    threading.Thread(target=serve, daemon=True).start()
    return server, kept


@pytest.mark.parametrize("says", [b"", b"\x16\x03\x03\x40\x00\x02", b"HTTP/1.1 400 no TLS here\r\n\r\n", b"\x00" * 4096],
                         ids=["silence", "half a record", "plain text", "zeros"])
def test_F06_a_handshake_that_stalls_or_is_none_fails_over(run, chaos, says):
    server, kept = tls_peer(says)
    try:
        base = f"https://localhost:{server.getsockname()[1]}/v1"
        weir = run("ab", a={"base_url": base, "connect": "300ms", "extra": {"ca_file": str(chaos.ca)}})
        answer = weir.ask()
        expect.whole(answer)
        assert answer.ended_at < 5, "the handshake has 3 s after the connect"
        expect.row(answer.rows(1)[0], "b", "ok", "reported", attempt=1)
        stalls = says in (b"", b"\x16\x03\x03\x40\x00\x02")
        weir.settles(1, "attempts_total", provider="a", outcome="connect_timeout" if stalls else "tls")
    finally:
        for sock in (server, *kept):
            sock.close()

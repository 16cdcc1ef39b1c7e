"""Connections on both sides: what may follow an answer, HTTP/2, early answers, and the process's end."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import expect
import pytest
from chaos import listening
from client import head

CHAT = "/v1/chat/completions"
H2 = {"listener": {"h2c": True}}
PATIENT = {"first_content": "9s", "idle": "9s", "total": "30s"}


def first(weir, raw, what):
    """One answer of each kind on this connection."""
    if what == "401":
        return raw.ask("POST", CHAT, [], b"{}")
    if what == "404":
        return raw.ask("GET", "/nope", [weir.bearer])
    if what == "413":
        raw.send(head("POST", CHAT, [("host", "weir"), weir.bearer, ("content-length", str(1 << 40))]))
        return raw.read()
    if what == "400":
        return raw.ask("POST", CHAT, [weir.bearer], b"{")
    if what == "models":
        return raw.ask("GET", "/v1/models", [weir.bearer])
    _, body = weir.body({"a": {"status": 500}} if what == "502" else {}, stream=what == "stream")
    return raw.ask("POST", CHAT, [weir.bearer], body)


@pytest.mark.parametrize("what", ["401", "404", "413", "400", "502", "models", "stream", "whole"])
def test_the_next_request_is_served_or_the_answer_said_close(run, what):
    weir = run("a")
    with weir.connect(3) as raw:
        said = first(weir, raw, what)
        assert said.ended == "clean"
        _, body = weir.body({}, stream=False)
        reply = raw.ask("POST", CHAT, [weir.bearer], body)
    if said.headers["connection"] == "close":
        assert reply.status == 0
        assert what in ("401", "404", "413", "502")
    else:
        expect.whole(reply)


@contextmanager
def curl(weir, body: bytes):
    """A caller that speaks HTTP/2 without TLS."""
    command = ["curl", "-sS", "--http2-prior-knowledge", "-H", f"authorization: {weir.bearer[1]}",
               f"http://127.0.0.1:{weir.port}{CHAT}", "--data-binary", "@-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(body)
    process.stdin.close()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("step", [{"head_delay": 3.0}, {"pace": 0.3, "text": ["x"] * 30}])
def test_F42_F43_an_http2_caller_that_leaves_is_seen_at_once(run, step):
    weir = run("a", settings=H2, a=PATIENT)
    id, body = weir.body({"a": step}, stream=True)
    with curl(weir, body) as caller:
        weir.chaos.truth.wait("request", id=id)
        time.sleep(0.5)
        caller.kill()
        (row,) = weir.ledger.wait(1, seconds=1.5, session=id)
    expect.row(row, "a", "client_abort", "none" if "head_delay" in step else "estimated")
    weir.settles(0, "in_flight")


def test_an_http2_stream_under_way_survives_sigterm(run):
    weir = run("a", settings=H2, a=PATIENT)
    id, body = weir.body({"a": {"pace": 0.3}}, stream=True)
    with curl(weir, body) as caller:
        weir.chaos.truth.wait("request", id=id)
        weir.process.send_signal(signal.SIGTERM)
        said = caller.stdout.read()
    assert b"[DONE]" in said[-20:]
    assert weir.process.wait(10) == 0
    expect.row(weir.rows(id, 1)[0], "a", "ok", "reported")


def test_sigint_cuts_a_stream_and_keeps_its_row(run):
    weir = run("a", a=PATIENT)
    with weir.asking({"a": {"text": ["x"] * 50, "pace": 0.2}}) as (id, raw):
        raw.read_until(b"data:")
        weir.process.send_signal(signal.SIGINT)
        assert raw.read().ended != "clean"
    assert weir.process.wait(10) == 0
    expect.row(weir.rows(id, 1)[0], "a", "shutdown", "estimated", committed=1)


def test_the_drain_limit_cuts_a_stream_and_keeps_its_row(run):
    weir = run("a", settings={"drain": "1s"}, a=PATIENT)
    with weir.asking({"a": {"text": ["x"] * 50, "pace": 0.2}}) as (id, raw):
        raw.read_until(b"data:")
        weir.process.send_signal(signal.SIGTERM)
        assert raw.read().ended != "clean"
    assert weir.process.wait(10) == 0
    expect.row(weir.rows(id, 1)[0], "a", "shutdown", "estimated", committed=1)


@contextmanager
def serving(answer):
    """An upstream that calls `answer` with each connection; its base URL."""
    sock = listening()

    def serve():
        while True:
            try:
                conn, _ = sock.accept()
            except OSError:
                return
            with conn:
                answer(conn)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()


def test_an_upstream_that_refuses_before_it_has_read_the_body_is_heard(run):
    body = json.dumps({"error": {"message": "too big", "code": 413}}).encode()

    def answer(conn):
        conn.recv(4096)
        conn.sendall(b"HTTP/1.1 413 No\r\ncontent-type: application/json\r\nconnection: close\r\n"
                     b"content-length: %d\r\n\r\n%s" % (len(body), body))
        time.sleep(0.2)

    with serving(answer) as base:
        weir = run("a", a=PATIENT | {"base_url": base})
        said = weir.ask(messages=[{"role": "user", "content": "q" * (6 << 20)}])
        assert expect.refused(said, 413)["metadata"]["raw"] == body.decode()
        expect.row(said.rows(1)[0], "a", "client_fault", status=413)


@pytest.mark.parametrize("end", ["with the data", "in a frame of its own"])
def test_an_http2_upstream_serves(run, end):
    command = [sys.executable, str(Path(__file__).with_name("upstream_h2.py")), end]
    upstream = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        base = f"http://127.0.0.1:{int(upstream.stdout.readline())}/v1"
        weir = run("a", a={"base_url": base, "extra": {"http": "h2"}})
        for _ in range(2):
            answer = weir.ask(stream=False)
            assert (answer.status, answer.text) == (200, "hi")
            expect.row(answer.rows(1)[0], "a", "ok", "reported", input=3, output=2)
    finally:
        upstream.kill()
        upstream.wait()

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

import conf
import expect
import pytest
from chaos import listening
from client import head
from weir import free_ports

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
def curl(weir, body: bytes, path: str = CHAT, authorization: str | None = None):
    """A caller that speaks HTTP/2 without TLS; prints the body and then the status."""
    command = ["curl", "-sS", "--http2-prior-knowledge", "-m", "20", "-w", "\n%{http_code}",
               "-H", f"authorization: {authorization or weir.bearer[1]}",
               f"http://127.0.0.1:{weir.port}{path}", "--data-binary", "@-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(body)
    process.stdin.close()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("path, authorization, status", [
    (CHAT, "Bearer sk-or-v1-nope", 401), ("/api/v1/nope", None, 404), ("/api" + CHAT, None, 413),
])
def test_a_refusal_reaches_an_http2_caller_who_is_still_sending(run, path, authorization, status):
    """A reset that overtakes the answer would cost it: curl exits with 92 then."""
    weir = run("a", H2 | {"limits": {"body_bytes": "1MiB"}})
    for size in [100_000, 4 << 20] if status != 413 else [4 << 20]:
        with curl(weir, b" " * size, path, authorization) as caller:
            body, _, said = caller.stdout.read().rpartition(b"\n")
            assert (caller.wait(10), int(said)) == (0, status)
        assert json.loads(body)["error"]["code"] == status


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
    assert said.endswith(b"data: [DONE]\n\n\n200")
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
def serving(answer, port: int = 0):
    """An upstream that calls `answer` with each connection; its base URL."""
    sock = socket.create_server(("127.0.0.1", port)) if port else listening()

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


@pytest.mark.parametrize("end", ["with the data", "in a frame of its own", "in trailers"])
def test_an_http2_upstream_serves(run, end):
    command = [sys.executable, str(Path(__file__).with_name("upstream_h2.py")), end]
    upstream = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        base = f"http://127.0.0.1:{int(upstream.stdout.readline())}/v1"
        weir = run("a", a={"base_url": base, "extra": {"http": "h2"}})
        for path in expect.BOTH_FACES:
            answer = weir.ask(path=path, stream=False)
            assert (answer.status, answer.text) == (200, "hi")
            expect.row(answer.rows(1)[0], "a", "ok", "reported", input=3, output=2)
    finally:
        upstream.kill()
        upstream.wait()


DOCUMENT = json.dumps({
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}).encode()
DOCUMENT_HEAD = (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
                 b"content-length: %d\r\n\r\n" % len(DOCUMENT))


def test_an_address_that_was_reached_again_starts_over(run):
    """It is avoided for a second after each stumble, not twice as long as after the one before."""

    def answer(conn):
        conn.recv(65536)
        conn.sendall(DOCUMENT_HEAD + DOCUMENT)

    def served_by(weir):
        return weir.ask(stream=False).rows(1)[0]["provider"]

    held = []
    (port,) = free_ports(1, held)
    weir = run("ab", a={"base_url": f"http://127.0.0.1:{port}/v1"})
    for _ in range(3):
        assert served_by(weir) == "b", "nobody listens"
        failed = time.monotonic()
        with serving(answer, port):
            while served_by(weir) == "b":
                assert time.monotonic() - failed < 1.8
                time.sleep(0.05)
            for _ in range(3):  # half of its attempts at least are good: no outage
                assert served_by(weir) == "a"


@pytest.mark.parametrize("pause_after, outcome", [(None, "total_timeout"), (20, "idle_timeout")])
def test_an_unstreamed_reply_that_dribbles_ends_at_its_clock(run, pause_after, outcome):
    """Each byte moves the idle clock, and none of them the total."""

    def answer(conn):
        conn.recv(65536)
        try:
            conn.sendall(DOCUMENT_HEAD)
            for at in range(len(DOCUMENT) - 1):
                conn.sendall(DOCUMENT[at : at + 1])
                time.sleep(5 if at == pause_after else 0.05)
        except OSError:
            pass

    with serving(answer) as base:
        total = "1500ms" if outcome == "total_timeout" else "20s"
        weir = run("a", a=conf.BRISK | {"base_url": base, "total": total})
        said = weir.ask(stream=False)
        expect.refused(said, 504)
        assert 1 < said.ended_at < 3.5
        expect.row(said.rows(1)[0], "a", outcome, status=200)

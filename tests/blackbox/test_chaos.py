"""The harness proves itself: chaos upstream, truth log and raw client against each other."""

import hashlib
import json
import socket
import time
import uuid

import pytest
from client import Raw
from script import TEXT, USAGE


def ask(chaos, role="a", script=None, stream=True, port=None, **fields):
    """One request straight to the chaos upstream."""
    id = uuid.uuid4().hex
    body = {"model": "m", "stream": stream, "messages": [], "x_chaos": {"id": id, role: script or {}}}
    data = json.dumps(body | fields).encode()
    with Raw(port or chaos.port, timeout=3) as raw:
        reply = raw.ask("POST", f"/s/{role}/v1/chat/completions", [], data)
    return id, data, reply


def test_a_stream_carries_text_finish_and_done(chaos):
    id, data, reply = ask(chaos, stream_options={"include_usage": True})
    assert (reply.status, reply.ended, reply.text, reply.done) == (200, "clean", "".join(TEXT), True)
    assert reply.usage == USAGE and reply.chunks[-1]["choices"] == []
    (request,) = chaos.truth.requests(id)
    assert request["sha256"] == hashlib.sha256(data).hexdigest() and request["length"] == len(data)
    (plan,) = chaos.truth.lines("plan", id=id)
    assert plan["fate"] == "complete" and plan["upstream_id"] == reply.chunks[0]["id"]
    (end,) = chaos.truth.wait("end", id=id)
    assert end["how"] == "complete" and end["sent"] == len(reply.body) == plan["bytes"]
    assert chaos.truth.lines("usage", id=id)[0]["usage"] == USAGE


def test_a_document_is_answered_unstreamed(chaos):
    _, _, reply = ask(chaos, stream=False)
    assert reply.text == "".join(TEXT) and reply.usage == USAGE


@pytest.mark.parametrize("split", ["event", "byte", "whole", 7, {"seed": 5}])
@pytest.mark.parametrize("eol", ["\n", "\r\n", "\r"])
def test_the_same_bytes_at_every_split(chaos, split, eol):
    step = {"split": split, "eol": eol, "usage_at": "choice"}
    _, _, reply = ask(chaos, script=step)
    assert reply.text == "".join(TEXT) and reply.usage == USAGE and reply.done


@pytest.mark.parametrize(
    ("step", "ended"),
    [
        ({"do": "reset"}, "reset"),
        ({"do": "close"}, "eof"),
        ({"cut": {"event": 2, "how": "reset"}}, "reset"),
        ({"cut": {"event": 2, "how": "fin"}}, "eof"),
        ({"cut": {"byte": 100, "how": "fin"}}, "eof"),
        ({"cut": {"event": 2, "how": "stall", "hold": 20}}, "timeout"),
        ({"do": "silence"}, "timeout"),
    ],
)
def test_cuts_end_as_they_say(chaos, step, ended):
    _, _, reply = ask(chaos, script=step)
    assert reply.ended == ended
    if "event" in step.get("cut", {}):
        assert len(reply.data) == 2
    if "byte" in step.get("cut", {}):
        assert len(reply.body) == 100


def test_a_clean_end_without_the_terminal_event(chaos):
    _, _, reply = ask(chaos, script={"cut": {"event": 2, "how": "end"}})
    assert reply.ended == "clean" and len(reply.data) == 2 and not reply.done


def test_an_error_event_takes_the_place_of_content(chaos):
    error = {"code": 529, "message": "overloaded"}
    _, _, reply = ask(chaos, script={"error": {"at": 0, "error": error}})
    assert reply.status == 200 and reply.error == error and len(reply.data) == 1


def test_a_status_with_headers_and_an_echoed_key(chaos):
    step = {"status": 401, "headers": [["retry-after", "7"]], "echo_key": True}
    _, _, reply = ask(chaos, script=step)
    assert reply.status == 401 and reply.headers["retry-after"] == "7"
    assert "for key" in reply.error["message"]


def test_steps_follow_the_hits_of_one_id(chaos):
    id = uuid.uuid4().hex
    body = {"model": "m", "x_chaos": {"id": id, "a": [{"status": 500}, {"status": 429}, {}]}}
    with Raw(chaos.port) as raw:
        replies = [raw.ask("POST", "/s/a/v1/chat/completions", [], json.dumps(body).encode()) for _ in range(4)]
    assert [reply.status for reply in replies] == [500, 429, 200, 200]
    assert len({entry["conn"] for entry in chaos.truth.requests(id)}) == 1, "one connection, kept alive"


def test_a_pooled_connection_can_be_reset_at_its_next_use(chaos):
    id = uuid.uuid4().hex
    body = json.dumps({"model": "m", "x_chaos": {"id": id, "a": {"then": "reset_next"}}}).encode()
    with Raw(chaos.port) as raw:
        assert raw.ask("POST", "/s/a/v1/chat/completions", [], body).status == 200
        assert raw.ask("POST", "/s/a/v1/chat/completions", [], body).ended == "reset"
    assert len(chaos.truth.requests(id)) == 1


def test_the_truth_log_sees_the_caller_leave(chaos):
    id = uuid.uuid4().hex
    body = json.dumps({"model": "m", "stream": True, "x_chaos": {"id": id, "a": {"pace": 0.2}}}).encode()
    with Raw(chaos.port) as raw:
        raw.send(b"POST /s/a/v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        raw.read_until(b"Hel")
        left = time.time()
        raw.reset()
    (entry,) = chaos.truth.requests(id)
    (closed,) = chaos.truth.wait("closed", conn=entry["conn"])
    assert closed["how"] == "by_peer" and closed["at"] - left < 0.5
    assert chaos.truth.wait("end", id=id)[0]["how"] == "caller_gone"


def test_each_certificate_has_its_listener(chaos):
    assert {"good", "expired", "wronghost", "unknown"} <= set(chaos.ports)
    for name in ("good", "expired"):
        with socket.create_connection(("127.0.0.1", chaos.ports[name])) as sock:
            sock.settimeout(1)
            sock.send(b"GET / HTTP/1.1\r\n\r\n")
            assert not sock.recv(10).startswith(b"HTTP"), "plain text is no TLS"


def test_a_recording_is_replayed_byte_for_byte(chaos):
    raw_body = "data: {\"choices\":[]}\r\n\r\n: x\n\ndata: [DONE]\n\n"
    step = {"raw": raw_body, "type": "text/event-stream; charset=utf-8", "framing": "chunked", "split": 3}
    _, _, reply = ask(chaos, script=step)
    assert reply.body == raw_body.encode() and reply.headers["content-type"] == step["type"]

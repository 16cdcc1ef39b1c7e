"""What an upstream puts on the wire that is no answer (F08, F20 to F23, F36 to F39): refused, counted,
never in a log, and never shown to the next caller of its connection (N6)."""

import gzip
import json
import time

import expect
import pytest
from test_faults_head import failover

LEAK = "leftover-of-another-caller"
CHUNK = '{"id":"x","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}'
HELLO = "data: " + CHUNK % ("hello", "null") + "\n\n"
STOP = "data: " + CHUNK % ("", '"stop"') + "\n\n"
DONE = "data: [DONE]\n\n"
SSE = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = SSE + "transfer-encoding: chunked\r\n\r\n"
WHOLE_JSON = '{"id":"x","choices":[{"index":0,"message":{"content":"hello"},"finish_reason":"stop"}]}'


def wire(*send, then="keep") -> dict:
    return {"do": "wire", "send": list(send), "then": then}


def chunk(data: str, extension: str = "") -> str:
    return f"{len(data):x}{extension}\r\n{data}\r\n"


def next_caller(weir, path="/v1/chat/completions") -> None:
    """Another caller of the same provider gets its own answer and not a byte of the last one's (N6)."""
    for stream in (True, False):
        answer = weir.ask(path=path, stream=stream)
        expect.whole(answer)
        assert LEAK.encode() not in answer.body
    assert LEAK not in weir.log.read_text(), "what came out of place is in the log"


MALFORMED_HEADS = {
    "no status": wire(f"HTTP/1.1 \r\nx: {LEAK}\r\n\r\n"),
    "status of letters": wire(f"HTTP/1.1 two OK\r\nx: {LEAK}\r\n\r\n"),
    "status of four digits": wire(f"HTTP/1.1 2000 OK\r\nx: {LEAK}\r\n\r\n"),
    "another protocol": wire(f"ICY 200 OK\r\nx: {LEAK}\r\n\r\n"),
    "a field without a colon": wire(f"HTTP/1.1 200 OK\r\n{LEAK}\r\n\r\n"),
    "a control character": wire(f"HTTP/1.1 200 OK\r\nx\x01: {LEAK}\r\n\r\n"),
    "NUL in a value": wire(f"HTTP/1.1 200 OK\r\nx: {LEAK}\0\r\n\r\n"),
    "an obsolete fold": wire(f"HTTP/1.1 200 OK\r\n {LEAK}: y\r\n\r\n"),
    "a signed length": wire(f"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n{LEAK}"),
    "two lengths": wire(f"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 9\r\n\r\n{LEAK}"),
    "a length beyond all": wire(f"HTTP/1.1 200 OK\r\ncontent-length: {10**30}\r\n\r\n{LEAK}"),
    "257 fields": wire("HTTP/1.1 200 OK\r\n", {"fill": f"x: {LEAK}\r\n", "times": 257}, "\r\n"),
    "10,000 fields": wire("HTTP/1.1 200 OK\r\n", {"fill": f"x: {LEAK}\r\n", "times": 10_000}, "\r\n"),
    "two megabytes": wire(f"HTTP/1.1 200 OK\r\nx: {LEAK}", {"fill": "y" * 65536, "times": 32}, "\r\n\r\n"),
    "never ending": wire("HTTP/1.1 200 OK\r\n", {"fill": "x: " + "y" * 8000 + "\r\n", "times": 4_000}),
}


@pytest.mark.parametrize("name", MALFORMED_HEADS)
def test_F20_a_malformed_head_fails_over(run, name):
    weir, answer = failover(run, MALFORMED_HEADS[name], "malformed")
    (request,) = answer.seen("a")
    closed = weir.chaos.truth.wait("closed", conn=request["conn"])
    assert closed[0]["how"] == "by_peer", "the connection is not used again"
    assert LEAK not in weir.log.read_text()


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F20_a_malformed_head_alone_is_502_and_says_nothing_of_it(run, path):
    weir = run("a")
    answer = weir.ask({"a": MALFORMED_HEADS["a field without a colon"]}, path=path)
    expect.refused(answer, 502, "Provider returned error")
    assert LEAK.encode() not in answer.body
    expect.free(answer.rows(1)[0])
    next_caller(weir)


@pytest.mark.parametrize("count", [8, 9, 100_000])
def test_F21_a_flood_of_informational_heads_ends(run, count):
    early = {"fill": "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", "times": count}
    step = wire(early, CHUNKED + chunk(HELLO) + chunk(STOP) + chunk(DONE) + "0\r\n\r\n")
    if count > 8:
        _, answer = failover(run, step, "malformed")
        assert answer.ended_at < 3
        return
    weir = run("ab")
    answer = weir.ask({"a": step})
    expect.whole(answer, "hello")
    expect.row(answer.rows(1)[0], "a", "ok", "estimated")
    assert answer.reply.interim == [], "none of them reaches the caller"


def test_F21_an_upgrade_nobody_asked_for_is_refused(run):
    head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    weir, _ = failover(run, wire(head + LEAK), "malformed", status=101)
    next_caller(weir)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
def test_F22_a_redirect_is_never_followed(run, chaos, status):
    step = {"status": status, "raw": "",
            "headers": [["location", f"http://127.0.0.1:{chaos.port}/s/stolen/v1/chat/completions"]]}
    _, answer = failover(run, step, "malformed", status=status)
    assert answer.seen("stolen") == [], "the key went to the Location"


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("stream", [True, False])
def test_F23_a_page_of_html_is_no_answer(run, path, stream):
    step = {"raw": "<html>log in</html>", "type": "text/html"}
    failover(run, step, "malformed", status=200, path=path, stream=stream)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("type", ["application/json", "text/event-stream"])
def test_F23_an_empty_200_is_no_answer(run, path, stream, type):
    unasked = type == "text/event-stream" and not stream and path.startswith("/api")
    failover(run, {"raw": "", "type": type}, "malformed" if unasked else "empty", status=200, path=path, stream=stream)


WHOLE = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
HOLLOW = {
    "failed": {"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "error"}]},
    "told": {"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "error",
                          "error": {"code": 502, "message": "no"}}]},
    "unfinished": {"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": None}],
                   "usage": {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}},
}


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("kind", HOLLOW)
def test_F23_a_reply_with_nothing_in_it_is_no_answer(run, path, kind):
    source = "partial" if kind == "unfinished" else "none"
    failover(run, {"raw": json.dumps(WHOLE | HOLLOW[kind])}, "empty", 200, source, path=path, stream=False)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("step", [
    {"text": [""], "finale": False, "usage_at": "choice", "usage": {"prompt_tokens": 3, "completion_tokens": 0}},
    {"text": [""], "finish": "error"},
    {"text": [""], "finish": "error", "done": False},
], ids=["usage", "error", "cut"])
def test_F23_a_stream_with_nothing_in_it_is_no_answer(run, path, step):
    source = "reported" if "finish" in step else "partial"
    failover(run, step, "empty", 200, source, path=path)


@pytest.mark.parametrize("stream", [True, False])
def test_F23_a_reply_that_says_why_it_is_empty_is_one(run, stream):
    weir = run("ab")
    answer = weir.ask({"a": {"text": [""], "finish": "content_filter"}}, stream=stream)
    assert answer.status == 200 and b"content_filter" in answer.body and answer.seen("b") == []


def test_F23_a_stream_that_nobody_asked_for_is_no_answer(run):
    step = {"raw": f"{HELLO}{STOP}{DONE}", "type": "text/event-stream"}
    failover(run, step, "malformed", status=200, stream=False)


def test_a_whole_reply_is_a_stream_to_who_asked_for_one(run):
    whole = WHOLE | {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
                     "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}
    answer = run("ab").ask({"a": {"raw": json.dumps(whole)}})
    assert answer.headers["content-type"] == "text/event-stream" and answer.seen("b") == []
    assert answer.chunks[0]["choices"][0]["delta"]["content"] == "hello" and answer.done
    assert answer.usage["total_tokens"] == 4
    expect.row(answer.rows(1)[0], "a", "ok", "reported")


def after_done(path: str, *more, then="keep") -> dict:
    return wire(CHUNKED + chunk(HELLO) + chunk(STOP) + chunk(DONE), *more, then=then)


USAGE = 'data: {"choices":[],"usage":{"prompt_tokens":21,"completion_tokens":9,"total_tokens":30}}\n\n'


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F36_data_after_done_is_counted_and_reaches_nobody_else(run, path):
    weir = run("a")
    step = after_done(path, chunk(f"data: {LEAK}\n\n"), "0\r\n\r\n")
    answer = weir.ask({"a": step}, path=path)
    assert (answer.status, answer.ended) == (200, "clean") and b"hello" in answer.body
    assert answer.done or path.startswith("/v1"), "on /api/v1 nothing follows [DONE]"
    expect.row(answer.rows(1)[0], "a", "ok", "estimated")
    weir.settles(1, "post_done_total")
    next_caller(weir)
    weir.settles(1, "post_done_total")


def test_F36_usage_right_after_done_counts_on_v1(run):
    weir = run("a")
    answer = weir.ask({"a": after_done("/v1", chunk(USAGE), "0\r\n\r\n")}, path="/v1/chat/completions",
                      stream_options={"include_usage": True})
    assert USAGE.encode() in answer.body
    expect.row(answer.rows(1)[0], "a", "ok", "reported", input=21, output=9)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F36_an_upstream_that_never_stops_after_done_is_left(run, path):
    weir = run("a", a={"idle": "20s", "total": "30s"})
    step = after_done(path, *[part for _ in range(40) for part in ({"wait": 0.3}, chunk(f": {LEAK}\n\n"))])
    answer = weir.ask({"a": step}, path=path)
    assert (answer.status, answer.ended) == (200, "clean")
    assert answer.ended_at < 4, "nothing winds up the clock that runs from the end"
    expect.row(answer.rows(1)[0], "a", "ok", "estimated")
    next_caller(weir)


JSON_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F37_a_body_shorter_than_its_length_fails_over(run, path):
    step = wire(JSON_HEAD + "content-length: 5000\r\n\r\n" + WHOLE_JSON, then="close")
    failover(run, step, "reset", status=200, path=path, stream=False)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F37_a_stream_shorter_than_its_length_is_cut(run, path):
    weir = run("ab")
    step = wire(SSE + "content-length: 5000\r\n\r\n" + HELLO, then="close")
    answer = weir.ask({"a": step}, path=path)
    expect.cut(answer, 502, "hello")
    expect.row(answer.rows(1)[0], "a", "truncated", "estimated")


EXTRA = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(LEAK)}\r\n\r\n{LEAK}"


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("late", [0.0, 0.1])
@pytest.mark.parametrize("framing", ["length", "chunked", "both"])
def test_F37_bytes_past_the_end_reach_no_other_caller(run, path, late, framing):
    """A whole second answer behind the first: read as the next caller's, it would be a leak."""
    weir = run("a")
    ends = {
        "length": f"content-length: {len(WHOLE_JSON)}\r\n\r\n{WHOLE_JSON}",
        "chunked": f"transfer-encoding: chunked\r\n\r\n{chunk(WHOLE_JSON)}0\r\n\r\n",
        "both": f"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n{chunk(WHOLE_JSON)}0\r\n\r\n",
    }
    send = [JSON_HEAD + ends[framing], {"wait": late}, EXTRA] if late else [JSON_HEAD + ends[framing] + EXTRA]
    answer = weir.ask({"a": wire(*send)}, path=path, stream=False)
    assert (answer.status, answer.text) == (200, "hello") and LEAK.encode() not in answer.body
    time.sleep(2 * late)
    next_caller(weir, path)
    (first, *others) = weir.chaos.truth.lines("request", role="a", id=answer.id)
    assert others == []
    closed = weir.chaos.truth.wait("closed", conn=first["conn"])
    assert closed[0]["how"] == "by_peer", "a connection out of step is dropped"
    if late:
        weir.settles(1, "unexpected_data_total")


def test_F08_data_on_an_idle_connection_drops_it(run):
    weir = run("a")
    answer = weir.ask({"a": {"then": {"idle_data": EXTRA, "after": 0.1}}})
    expect.whole(answer)
    weir.settles(1, "unexpected_data_total")
    next_caller(weir)
    (first,) = answer.seen("a")
    assert weir.chaos.truth.wait("closed", conn=first["conn"])[0]["how"] == "by_peer"


BAD_CHUNKS = {
    "letters": "zz\r\nhello\r\n",
    "negative": "-5\r\nhello\r\n",
    "no line end": "5hello\r\n",
    "past 64 bits": "fffffffffffffffff\r\nhello\r\n",
    "wrong end of data": "5\r\nhelloXX\r\n",
    "endless extension": {"fill": "5;" + "x" * 65_000, "times": 8},
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_F38_a_bad_chunk_fails_over(run, name):
    step = wire(CHUNKED, BAD_CHUNKS[name])
    weir, answer = failover(run, step, "malformed", status=200)
    (request,) = answer.seen("a")
    assert weir.chaos.truth.wait("closed", conn=request["conn"])[0]["how"] == "by_peer"


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_F38_a_bad_chunk_after_content_is_a_cut(run, name):
    weir = run("ab")
    answer = weir.ask({"a": wire(CHUNKED + chunk(HELLO), {"wait": 0.1}, BAD_CHUNKS[name])})
    expect.cut(answer, 502, "hello")
    expect.row(answer.rows(1)[0], "a", "truncated", "estimated")
    next_caller(weir)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F38_extensions_and_trailers_are_dropped(run, path):
    weir = run("a")
    trailers = f"content-length: 5\r\nhost: {LEAK}\r\nset-cookie: {LEAK}\r\n"
    send = CHUNKED + chunk(HELLO, f";x={LEAK}") + chunk(STOP) + chunk(DONE) + "0\r\n" + trailers + "\r\n"
    with weir.connect() as raw:
        id, body = weir.body({"a": wire(send)}, stream=True)
        reply = raw.ask("POST", path, [weir.bearer], body)
        expect.whole(reply, "hello")
        assert LEAK not in str(reply.headers) and LEAK.encode() not in reply.body
        assert b"content-length: 5" not in raw.buffer
    expect.row(weir.rows(id, 1)[0], "a", "ok", "estimated")
    next_caller(weir)


@pytest.mark.parametrize("encoding", ["gzip", "br", "x-unknown", "gzip, gzip"])
@pytest.mark.parametrize("stream", [True, False])
def test_F39_compression_that_was_not_asked_for_fails_over(run, encoding, stream):
    bomb = gzip.compress(bytes(8 << 20)).decode("latin-1")
    head = SSE if stream else JSON_HEAD
    step = wire(f"{head}content-encoding: {encoding}\r\ncontent-length: {len(bomb)}\r\n\r\n{bomb}")
    weir, answer = failover(run, step, "malformed", status=200, stream=stream)
    (request,) = answer.seen("a")
    assert dict(request["headers"])["accept-encoding"] == "identity"


def test_F39_identity_is_no_compression(run):
    weir = run("a")
    answer = weir.ask({"a": {"headers": [["content-encoding", "identity"]]}})
    expect.whole(answer)
    expect.row(answer.rows(1)[0], "a", "ok", "reported")


def test_F39_compressed_bytes_that_say_nothing_of_it_are_no_answer(run):
    bomb = gzip.compress(bytes(8 << 20)).decode("latin-1")
    step = wire(f"{SSE}content-length: {len(bomb)}\r\n\r\n{bomb}")
    failover(run, step, "malformed", status=200)


def test_F39_a_compressed_refusal_stays_readable(run):
    weir = run("a")
    packed = gzip.compress(b'{"error":{"message":"too long"}}')
    text = packed.decode("latin-1")
    step = wire(f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
                f"content-length: {len(text)}\r\n\r\n{text}")
    plain = weir.ask({"a": step}, path="/v1/chat/completions")
    assert (plain.status, plain.headers["content-encoding"], plain.body) == (400, "gzip", packed)
    error = expect.refused(weir.ask({"a": step}), 400, "Provider returned error")
    assert not error["metadata"].get("raw"), "bytes nobody can read are not shown as text"

"""Comments in place of silence on `/api/v1` (`keepalive_comment`, contract 4.3)."""

import json
import time

import conf
import expect
import pytest
from clients import OPENAI, OPENROUTER
from h2.settings import SettingCodes
from h2client import H2Caller
from test_clients import chat
from test_faults_wire import CHUNKED, DONE, HELLO, STOP, chunk, wire

PATH = "/api/v1/chat/completions"
COMMENT = b": OPENROUTER PROCESSING\n\n"
QUIET = {"keepalive_comment": "300ms", "listener": {"h2c": True}}
SLOW = {"first_content": "3s", "idle": "3s"}
SDKS = pytest.mark.parametrize("name", OPENAI + OPENROUTER)
H1_H2 = pytest.mark.parametrize("h2", [False, True], ids=["h1", "h2c"])


class Heard:
    """A whole answer over HTTP/2, read like one over HTTP/1.1."""

    def __init__(self, id, status, body, ended, weir):
        self.id, self.status, self.body, self.ended, self.weir = id, status, body, ended, weir
        lines = body.decode().split("\n")
        self.headers = {"content-type": "text/event-stream"}
        self.data = [line[6:] for line in lines if line.startswith("data: ")]
        self.chunks = [json.loads(line) for line in self.data if line != "[DONE]"]
        self.done = self.data[-1:] == ["[DONE]"]
        deltas = [c.get("delta", {}).get("content") for d in self.chunks for c in d.get("choices", [])]
        self.text = "".join(delta or "" for delta in deltas)

    def rows(self, count):
        return self.weir.rows(self.id, count)


def ask(weir, roles, h2=False, path=PATH, **fields):
    if not h2:
        return weir.ask(roles, path=path, **fields)
    id, body = weir.body(roles, stream=True, **fields)
    with H2Caller(weir.port) as caller:
        stream = caller.post(path, [weir.bearer], body)
        while stream not in caller.ended:
            caller.read()
        ended = {"end": "clean"}.get(caller.ended[stream], "reset")
        return Heard(id, caller.status[stream], caller.body[stream], ended, weir)


def comments(answer, least: int, most: int) -> None:
    assert least <= answer.body.count(COMMENT) <= most, answer.body
    for block in answer.body.split(b"\n\n")[:-1]:
        assert block == COMMENT.strip() or block.startswith(b"data: "), block


@H1_H2
@pytest.mark.parametrize("step", [{"head_delay": 1.0}, {"first_delay": 1.0}], ids=["before", "after"])
def test_silence_before_content(run, step, h2):
    weir = run("a", QUIET, a=SLOW)
    answer = ask(weir, {"a": step}, h2)
    expect.whole(answer)
    comments(answer, 2, 3)
    assert answer.body.startswith(COMMENT)
    if not h2:
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-generation-id"] == answer.chunks[0]["id"]
        assert "content-length" not in answer.headers and 0.25 < answer.head_at < 0.95, "not with the content"
    (row,) = answer.rows(1)
    expect.row(row, "a", "ok", "reported", input=expect.INPUT, output=expect.OUTPUT)
    expect.paid(row, weir.deployment.cost("a", expect.INPUT, expect.OUTPUT))
    weir.settles(1, "requests_total", outcome="ok")


@H1_H2
def test_silence_between_events(run, h2):
    weir = run("a", QUIET, a=SLOW)
    answer = ask(weir, {"a": {"text": ["one", "two", "three"], "pace": 0.7}}, h2)
    expect.whole(answer, "onetwothree")
    comments(answer, 8, 14)
    assert b"data" in answer.body.split(COMMENT)[-1]
    expect.row(answer.rows(1)[0], "a", "ok", "reported", output=expect.OUTPUT)


def test_a_lively_stream_has_no_comment(run):
    weir = run("a", QUIET, a=SLOW)
    answer = ask(weir, {"a": {"text": ["word "] * 10, "pace": 0.1}})
    expect.whole(answer, "word " * 10)
    comments(answer, 0, 0)


def test_no_comment_on_v1_nor_unstreamed_nor_when_off(run):
    weir = run("a", QUIET, a=SLOW)
    for path, stream in [("/v1/chat/completions", True), ("/v1/chat/completions", False), (PATH, False)]:
        answer = ask(weir, {"a": {"head_delay": 0.8}}, path=path, stream=stream)
        expect.whole(answer)
        assert b"PROCESSING" not in answer.body and answer.head_at > 0.7
    off = run("a", QUIET | {"keepalive_comment": "0s"}, a=SLOW)
    answer = ask(off, {"a": {"head_delay": 0.8}})
    expect.whole(answer)
    comments(answer, 0, 0)


FAILURES = {
    "reset": ({"head_delay": 0.8, "cut": {"byte": 0, "how": "reset"}}, None),
    "status": ({"head_delay": 0.8, "status": 503}, "server_error"),
    "deadline": ({"head_delay": 9}, "first_content_timeout"),
    "error": ({"first_delay": 0.8, "error": {"at": 0, "error": {"code": 502, "message": "no"}}}, "in_band_error"),
    "document": ({"head_delay": 0.8, "type": "application/json", "raw": "{}"}, "malformed"),
}


@H1_H2
@pytest.mark.parametrize("how", FAILURES)
def test_a_failover_after_a_comment(run, how, h2):
    step, outcome = FAILURES[how]
    weir = run("ab", QUIET, a={"first_content": "1s"}, b=SLOW)
    answer = ask(weir, {"a": step, "b": {"head_delay": 0.7}}, h2)
    expect.whole(answer)
    comments(answer, 3, 5)
    assert answer.data.count("[DONE]") == 1
    first, second = answer.rows(2)
    expect.free(first)
    assert outcome in (None, first["outcome"]), first["outcome"]
    expect.row(second, "b", "ok", "reported", input=expect.INPUT, output=expect.OUTPUT)
    weir.settles(1, "requests_total", outcome="ok")


@H1_H2
@pytest.mark.parametrize("how", FAILURES)
def test_when_all_fail_after_a_comment_the_last_event_says_so(run, how, h2):
    step, outcome = FAILURES[how]
    weir = run("ab", QUIET, a={"first_content": "1s"}, b={"first_content": "1s"})
    answer = ask(weir, {"a": step, "b": step}, h2)
    expect.cut(answer, (502, 503, 504), "")
    comments(answer, 2, 7)
    assert len(answer.chunks) == 1 and answer.chunks[0]["id"].startswith("gen-")
    assert answer.chunks[0]["model"] == "test/m"
    for row in answer.rows(2):
        expect.free(row)
        assert outcome in (None, row["outcome"]), row["outcome"]
    weir.settles(1, "requests_total", outcome="failed")


@H1_H2
@pytest.mark.parametrize("raw", [None, ""], ids=["body", "empty"])
def test_the_callers_fault_after_a_comment(run, raw, h2):
    weir = run("ab", QUIET, a=SLOW)
    step = {"head_delay": 0.8, "status": 400} | ({} if raw is None else {"raw": raw})
    answer = ask(weir, {"a": step}, h2)
    error = expect.cut(answer, 400, "")
    comments(answer, 2, 2)
    if raw is None:
        assert "chaos says 400" in error["metadata"]["raw"]
    (row,) = answer.rows(1)
    expect.row(row, "a", "client_fault", status=400)
    weir.settles(1, "requests_total", outcome="caller_fault")


@H1_H2
def test_a_cut_after_content_and_comments(run, h2):
    weir = run("ab", QUIET, a={"idle": "1s"})
    answer = ask(weir, {"a": {"cut": {"event": 2, "how": "stall"}}}, h2)
    expect.cut(answer, (502, 504), "Hello")
    comments(answer, 2, 3)
    expect.row(answer.rows(1)[0], "a", "idle_timeout", "estimated")


def test_leaving_during_comments_cancels_the_upstream(run):
    weir = run("ab", QUIET, a=SLOW)
    with weir.asking({"a": {"head_delay": 2}}) as (id, raw):
        raw.read_until(COMMENT)
    (row,) = weir.rows(id, 1)
    expect.row(row, "a", "client_abort")
    expect.free(row)


def test_the_connection_serves_the_next_request(run):
    weir = run("a", QUIET, a=SLOW)
    with weir.connect() as raw:
        for _ in range(2):
            _, body = weir.body({"a": {"head_delay": 0.7}}, stream=True)
            reply = raw.ask("POST", PATH, [weir.bearer], body)
            expect.whole(reply)
            comments(reply, 2, 2)


@pytest.mark.parametrize("room", [0, 1, 10, 23, 24, 25, 30])
def test_a_caller_without_room_gets_no_half_comment(run, room):
    """What was written of a comment before the window was full is made a comment of its own."""
    weir = run("ab", QUIET, a={"first_content": "1s"}, b=SLOW)
    id, body = weir.body({"a": {"head_delay": 9}, "b": {"head_delay": 0.5}}, stream=True)
    with H2Caller(weir.port) as caller:
        caller.conn.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: room})
        stream = caller.post(PATH, [weir.bearer], body)
        while len(caller.body[stream]) < room:
            caller.read()
        weir.chaos.truth.wait("request", id=id, role="b")
        time.sleep(1)
        caller.conn.increment_flow_control_window(1 << 20, stream)
        caller.flush()
        while stream not in caller.ended:
            caller.read()
        answer = Heard(id, caller.status[stream], caller.body[stream], caller.ended[stream], weir)
    assert (answer.ended, answer.text, answer.done) == ("end", expect.WHOLE, True)
    assert answer.body.startswith(COMMENT[:room])
    for block in answer.body.split(b"\n\n"):
        assert COMMENT.startswith(block.strip()) or block.lstrip().startswith(b"data: "), answer.body
    assert [row["outcome"] for row in weir.rows(id, 2)] == ["first_content_timeout", "ok"]


@SDKS
def test_the_sdks_read_past_comments(run, clients, name):
    weir = run("ab", QUIET, a={"first_content": "1s"}, b=SLOW)
    roles = {"a": {"head_delay": 9}, "b": {"head_delay": 0.5, "pace": 0.5}}
    id, seen = chat(weir, clients[name], "/api/v1", roles, stream=True)
    assert seen["error"] is None and seen["text"] == expect.WHOLE and seen["finish"] == "stop"
    assert [request["role"] for request in weir.chaos.truth.requests(id)] == ["a", "b"]


@SDKS
def test_the_sdks_raise_when_all_fail_after_comments(run, clients, name):
    weir = run("a", QUIET, a={"first_content": "1s"})
    _, seen = chat(weir, clients[name], "/api/v1", {"a": {"head_delay": 9}}, stream=True)
    assert seen["error"] is not None


HIDDEN = 'data: {"choices":[{"index":0,"delta":{"reasoning":"hm"}}]}\n\n'


@pytest.mark.parametrize("comment", ["300ms", "10s"])
def test_hidden_reasoning_is_silence_behind_which_another_endpoint_takes_over(run, comment):
    """Its upstream's first-content clock does not see it so: what delivers is not slow."""
    weir = run("ab", {"keepalive_comment": comment}, a=conf.BRISK)
    hidden = [part for _ in range(12) for part in ({"wait": 0.1}, chunk(HIDDEN))]
    answer = weir.ask({"a": wire(CHUNKED, *hidden)}, reasoning={"exclude": True})
    expect.whole(answer)
    assert b"hm" not in answer.body and (COMMENT in answer.body) == (comment == "300ms"), answer.body
    first, second = answer.rows(2)
    assert first["outcome"] == "idle_timeout" and not first["committed"], dict(first)
    assert first["charge"] == 0 < first["first_content_us"] < 600_000, dict(first)
    expect.row(second, "b", "ok", "reported")
    whole = weir.ask({"a": wire(CHUNKED, *hidden, *map(chunk, (HELLO, STOP, DONE)), "0\r\n\r\n")},
                     reasoning={"exclude": True})
    expect.whole(whole, "hello")
    assert len(whole.chunks) == 3, "nothing of what is hidden, and usage"

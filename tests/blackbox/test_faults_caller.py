"""Faults of the caller's connection (reliability.md, section 3 D)."""

import signal
import time

import conf
import expect
import pytest
from client import Raw, head
from ledger import TERMINAL
from script import USAGE


def upstream_closed(weir, id: str, since: float, within: float = 1.5) -> None:
    """The upstream saw Weir leave soon after."""
    (request,) = weir.chaos.truth.wait("request", id=id)
    (closed,) = weir.chaos.truth.wait("closed", conn=request["conn"], seconds=within + 2)
    assert closed["how"] == "by_peer" and closed["at"] - since < within


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("stream", [True, False])
def test_F42_leaving_before_the_head_cancels_the_upstream(run, leave, stream):
    weir = run("ab", a={"first_content": "9s"})
    with weir.asking({"a": {"head_delay": 8}}, stream=stream) as (id, raw):
        weir.chaos.truth.wait("request", id=id)
        left = time.time()
        getattr(raw, leave)()
    upstream_closed(weir, id, left)
    (row,) = weir.rows(id, 1)
    assert (row["provider"], row["outcome"], row["charge"]) == ("a", "client_abort", 0)
    assert row["output"] == 0 and not row["committed"]
    assert weir.chaos.truth.requests(id, "b") == []
    weir.settles(1, "client_abort_total", phase="before_content")
    weir.settles(1, "requests_total", outcome="client_abort")


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_F43_leaving_in_mid_stream_cancels_the_upstream(run, leave, path):
    weir = run("ab")
    step = {"text": ["first words "] * 30, "pace": 0.1}
    with weir.asking({"a": step}, path=path) as (id, raw):
        raw.read_until(b"first words")
        left = time.time()
        getattr(raw, leave)()
    upstream_closed(weir, id, left)
    (row,) = weir.rows(id, 1)
    expect.row(row, "a", "client_abort", "estimated")
    assert 1 <= row["output"] <= len("first words ") * 15 and row["committed"]
    expect.paid(row, weir.deployment.cost("a", row["input"], row["output"]))
    weir.settles(1, "client_abort_total", phase="after_content")
    weir.settles(0, "in_flight")


def test_F43_usage_reported_before_the_caller_left_is_kept(run):
    weir = run("a")
    step = {"text": ["word "] * 30, "pace": 0.1, "usage_at": "every"}
    with weir.asking({"a": step}) as (id, raw):
        raw.read_until(b"word")
        raw.reset()
    (row,) = weir.rows(id, 1)
    expect.row(row, "a", "client_abort", "partial", output=USAGE["completion_tokens"])


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("early", [True, False])
def test_F43_a_provider_that_is_drained_is_read_to_its_usage(run, path, leave, early):
    weir = run("ab", a={"first_content": "9s", "extra": {"disconnect": "drain"}})
    step = {"text": ["word "] * 10, "pace": 0.05, "first_delay": 0.5}
    with weir.asking({"a": step}, path=path) as (id, raw):
        if early:
            weir.chaos.truth.wait("request", id=id)
        else:
            raw.read_until(b"word")
        getattr(raw, leave)()
    (row,) = weir.rows(id, 1)
    expect.row(row, "a", "client_abort", "reported", input=expect.INPUT, output=expect.OUTPUT)
    assert row["flags"] & TERMINAL
    cost = weir.deployment.cost("a", expect.INPUT, expect.OUTPUT)
    assert (row["cost"], row["charge"]) == (cost, 0 if early else cost), "what nobody got costs no caller"
    (end,) = weir.chaos.truth.wait("end", id=id)
    assert end["how"] == "complete" and weir.chaos.truth.requests(id, "b") == []
    weir.settles(1, "client_abort_total", phase="before_content" if early else "after_content")
    weir.settles(1, "requests_total", outcome="client_abort")
    expect.whole(weir.ask(path=path))


@pytest.mark.parametrize("stream", [True, False])
def test_F42_only_a_stream_is_cancelled_where_whole_bodies_are_billed(run, stream):
    weir = run("a", a={"first_content": "9s", "extra": {"disconnect": "cancel-streams"}})
    with weir.asking({"a": {"head_delay": 0.8}}, stream=stream) as (id, raw):
        weir.chaos.truth.wait("request", id=id)
        raw.close()
    (row,) = weir.rows(id, 1)
    tokens = (0, 0) if stream else (expect.INPUT, expect.OUTPUT)
    expect.row(row, "a", "client_abort", "none" if stream else "reported", input=tokens[0], output=tokens[1])
    assert row["charge"] == 0 and (row["cost"] > 0) != stream


@pytest.mark.parametrize("step", [{"status": 500, "head_delay": 0.4}, {"cut": {"event": 2, "how": "stall"}, "first_delay": 0.4}],
                         ids=["an error", "a stall"])
def test_F42_a_drained_provider_that_fails_is_not_followed_by_another(run, step):
    weir = run("ab", a=conf.BRISK | {"extra": {"disconnect": "drain"}})
    with weir.asking({"a": step}) as (id, raw):
        weir.chaos.truth.wait("request", id=id)
        raw.reset()
    (row,) = weir.rows(id, 1)
    assert (row["provider"], row["charge"]) == ("a", 0), dict(row)
    assert weir.chaos.truth.requests(id, "b") == []
    weir.settles(1, "client_abort_total")
    weir.settles(1, "requests_total", outcome="client_abort")


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_F44_leaving_right_after_done_is_success(run, leave, path):
    weir = run("a")
    step = {"cut": {"event": 99, "how": "stall", "hold": 2}}  # the framing ends 2 s after [DONE]
    with weir.asking({"a": step}, path=path) as (id, raw):
        raw.read_until(b"[DONE]")
        getattr(raw, leave)()
    (row,) = weir.rows(id, 1)
    expect.row(row, "a", "ok", "reported", input=expect.INPUT, output=expect.OUTPUT)
    weir.settles(1, "requests_total", outcome="ok")
    weir.settles(0, "client_abort_total")


BODY_LIMIT = 1 << 20


def small(run):
    return run("a", settings={"limits": {"body_bytes": "1MiB"}})


def untouched(weir) -> None:
    """Nothing of it went upstream."""
    weir.settles(1, "body_too_large_total")
    weir.settles(0, "attempts_total")
    assert weir.ledger.rows() == []


def test_F49_a_length_over_the_cap_is_refused_before_the_body(run):
    weir = small(run)
    with weir.connect() as raw:
        length = ("content-length", str(BODY_LIMIT + 1))
        raw.send(head("POST", "/api/v1/chat/completions", [("host", "w"), weir.bearer, length]))
        reply = raw.read()
    expect.refused(reply, 413)
    assert reply.head_at < 5, "it waits for the body"
    untouched(weir)


def test_F49_endless_chunks_are_refused_at_the_cap(run):
    weir = small(run)
    with weir.connect() as raw:
        framing = ("transfer-encoding", "chunked")
        raw.send(head("POST", "/v1/chat/completions", [("host", "w"), weir.bearer, framing]))
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        for _ in range(20):
            raw.send(piece)
        reply = raw.read()
    expect.refused(reply, 413)
    untouched(weir)


def test_F49_a_body_at_the_cap_passes_and_one_past_it_does_not(run):
    weir = small(run)
    for over, status in ((0, 200), (1, 413)):
        id, body = weir.body()
        body = body[:-1] + b" " * (BODY_LIMIT + over - len(body)) + b"}"
        for chunk in (0, 10_000):
            with weir.connect() as raw:
                reply = raw.ask("POST", "/api/v1/chat/completions", [weir.bearer], body, chunk)
            assert reply.status == status, (over, chunk)


def test_F49_a_body_shorter_than_its_length_reaches_nobody(run):
    weir = run("a")
    with weir.connect() as raw:
        raw.send(head("POST", "/v1/chat/completions", [("host", "w"), weir.bearer, ("content-length", "500")]))
        raw.send(b'{"model":"test/m"')
    time.sleep(0.3)
    weir.settles(0, "attempts_total")
    assert weir.ledger.rows() == []


EXPECT = ("expect", "100-continue")


def waiting(weir, headers: list, body: bytes, path="/api/v1/chat/completions") -> Raw:
    raw = weir.connect()
    fixed = [("host", "w"), EXPECT, ("content-length", str(len(body)))]
    raw.send(head("POST", path, [*fixed, *headers]))
    return raw


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("size", [0, 3_000_000])
def test_F52_a_caller_that_waits_for_100_is_served(run, path, size):
    weir = run("ab")
    id, body = weir.body({"a": {"do": "reset"}}, stream=True, padding="x" * size)
    with waiting(weir, [weir.bearer], body, path) as raw:
        raw.read_until(b"HTTP/1.1 100")
        raw.send(body)
        reply = raw.read()
    assert reply.interim == [100]
    expect.whole(reply)
    weir.rows(id, 2)


def test_F52_no_100_for_a_bad_key(run):
    weir = run("a")
    with waiting(weir, [("authorization", "Bearer sk-or-v1-nope")], b"x" * 1000) as raw:
        reply = raw.read()
    assert reply.interim == []
    expect.refused(reply, 401, "User not found.")


def test_F52_no_100_for_a_body_over_the_cap(run):
    weir = small(run)
    with waiting(weir, [weir.bearer], b"x" * (BODY_LIMIT + 1)) as raw:
        reply = raw.read()
    assert reply.interim == []
    expect.refused(reply, 413)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_a_caller_who_pauses_is_not_an_idle_upstream(run, path):
    """While nobody can read the upstream, its idle clock stands still."""
    weir = run("a", a={"total": "60s", "first_content": "5s"})
    word, count, got = "y" * 4000, 6000, bytearray()
    with weir.asking({"a": {"text": [word] * count}}, path=path) as (id, raw):
        for megabytes in (0, 6):
            while len(got) < megabytes << 20:
                got += raw.sock.recv(1 << 20)
            time.sleep(1.8)  # twice the idle clock
        while b"[DONE]" not in got[-100:] and b'"error"' not in got[-2000:]:
            got += raw.sock.recv(1 << 20) or b"[DONE] never came"
    end = bytes(got[-100:])
    assert b"data: [DONE]" in end and len(got) > len(word) * count
    expect.row(weir.rows(id, 1)[0], "a", "ok", "reported")


def test_F56_unknown_and_forbidden_models_get_the_same_answer(run):
    weir = run({"test/m": "a", "test/secret": "a"})
    keys = weir.conf / "keys.toml"
    keys.write_text(keys.read_text() + 'models = ["test/m"]\n')
    weir.process.send_signal(signal.SIGHUP)
    weir.settles(1, "reload_total", result="applied")
    series = len(weir.metrics())
    said = set()
    for model in ("test/secret", "test/nothing", "test/m:free", "TEST/SECRET"):
        answer = weir.ask(model=model)
        expect.refused(answer, 400, f"{model} is not a valid model ID")
        assert answer.seen() == []
        said.add((answer.body.decode().replace(model, ""), tuple(sorted(answer.headers.items() - length(answer)))))
    assert len(said) == 1, said
    assert len(weir.metrics()) == series, "no caller's word becomes a series"
    expect.whole(weir.ask())
    weir.settles(4, "requests_total", outcome="caller_fault")
    assert len(weir.ledger.wait(1)) == 1


def length(answer) -> set:
    """What differs with the length of the name."""
    return {(name, value) for name, value in answer.headers.items() if name == "content-length"}


def test_F61_an_idempotency_key_is_the_callers_own_affair(run):
    """Weir promises no replay: two requests are two runs and two rows, each billed once."""
    weir = run("a")
    header = ("idempotency-key", "the-same-key")
    answers = [weir.ask(headers=[header]) for _ in range(2)]
    for answer in answers:
        expect.whole(answer)
        (request,) = answer.seen("a")
        assert "idempotency-key" not in dict(request["headers"])
        expect.row(answer.rows(1)[0], "a", "ok", "reported")
    weir.settles(2, "attempts_total", outcome="ok")

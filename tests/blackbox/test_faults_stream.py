"""Faults in the middle of a stream (reliability.md, section 3 C)."""

from concurrent.futures import ThreadPoolExecutor

import conf
import expect
import pytest
from ledger import TERMINAL, UNREADABLE
from test_faults_wire import CHUNKED, DONE, HELLO, STOP, chunk, wire
from test_faults_wire import USAGE as REPORT

FIRST_TWO = "Hello"  # the first two deltas of the script


def estimated(row: dict, at_most: int) -> None:
    """Usage that Weir had to estimate, within what could have been."""
    assert row.source == "estimated" and row.estimator
    assert 1 <= row["output"] <= at_most, dict(row)
    assert row["input"] >= 1


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("how", ["reset", "fin", "end"])
def test_F24_F26_a_cut_after_content_is_an_error_event(run, path, how):
    weir = run("ab")
    answer = weir.ask({"a": {"cut": {"event": 2, "how": how}}}, path=path)
    expect.cut(answer, 502, FIRST_TWO)
    assert answer.seen("b") == [], "no second model may be glued on"
    (row,) = answer.rows(1)
    expect.row(row, "a", "truncated", "estimated", status=200)
    estimated(row, len(FIRST_TWO.encode()))
    assert row["committed"] and not row["flags"] & TERMINAL
    expect.insured(row, weir.deployment.cost("a", row["input"], row["output"]))
    weir.settles(1, "attempts_total", provider="a", outcome="truncated")
    weir.settles(1, "requests_total", outcome="cut")
    weir.settles(1, "usage_estimated_total")


def test_F24_a_cut_keeps_the_usage_reported_before_it(run):
    weir = run("a")
    step = {"usage_at": "every", "cut": {"event": 2, "how": "reset"}}
    answer = weir.ask({"a": step})
    expect.cut(answer, 502, FIRST_TWO)
    (row,) = answer.rows(1)
    expect.row(row, "a", "truncated", "partial", input=expect.INPUT, output=expect.OUTPUT)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F24_a_cut_at_any_byte(run, path):
    """Before the first content is complete another endpoint answers; after it, an error event."""
    cuts = [*range(0, 420, 23)]
    weir = run({f"test/m{k}": "ab" for k in cuts})
    kinds = set()
    for k in cuts:
        cut = {"cut": {"byte": k, "how": "reset"}}
        answer = weir.ask({"a": cut}, model=f"test/m{k}", path=path)
        if answer.done:
            expect.whole(answer)
            kinds.add("failover")
            first, second = answer.rows(2)
            assert first["outcome"] in ("reset", "truncated")
            expect.free(first)
            expect.row(second, "b", "ok", "reported")
        else:
            expect.cut(answer, 502)
            assert answer.text and expect.WHOLE.startswith(answer.text)
            kinds.add("cut")
            expect.row(answer.rows(1)[0], "a", "truncated", "estimated")
    assert kinds == {"failover", "cut"}


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F25_a_stall_ends_at_the_idle_clock(run, path):
    weir = run("ab", a=conf.BRISK)
    answer = weir.ask({"a": {"cut": {"event": 2, "how": "stall"}}}, path=path)
    expect.cut(answer, (502, 504), FIRST_TWO)
    assert 0.7 < answer.ended_at < 3
    (row,) = answer.rows(1)
    expect.row(row, "a", "idle_timeout", "estimated")
    estimated(row, len(FIRST_TWO.encode()))
    weir.settles(1, "attempts_total", outcome="idle_timeout")
    closed = weir.chaos.truth.wait("closed", conn=answer.seen("a")[0]["conn"])
    assert closed[0]["how"] == "by_peer", "the upstream slot is given back"


def test_F25_comments_alone_do_not_keep_a_stream_for_ever(run):
    weir = run("a", a=conf.BRISK | {"total": "2s"})
    quiet = {"text": ["Hel", "lo"], "comments": ["tick"] * 100, "pace": 0.2, "first_delay": 0.0}
    step = quiet | {"bad_event": {"at": 0, "data": '{"choices":[{"index":0,"delta":{"content":"Hi"}}]}'}}
    answer = weir.ask({"a": step}, timeout=8)
    assert answer.ended == "clean" and answer.ended_at < 6
    expect.cut(answer, (502, 504))


def test_F25_a_slow_stream_that_delivers_is_never_cut(run):
    weir = run("a", a={"total": "1s"})
    answer = weir.ask({"a": {"text": list("slowly"), "pace": 0.4}})
    expect.whole(answer, "slowly")
    assert answer.ended_at > 2
    expect.row(answer.rows(1)[0], "a", "ok", "reported")


def test_the_total_clock_ends_an_unstreamed_answer(run):
    weir = run("a", a={"total": "700ms", "first_content": "3s"})
    answer = weir.ask({"a": {"first_delay": 8}}, stream=False)
    expect.refused(answer, 504)
    assert answer.ended_at < 3
    expect.free(answer.rows(1)[0])


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F25_after_content_comments_are_no_progress(run, path):
    """The idle clock is the cap: only events wind it up."""
    weir = run("a", a=conf.BRISK | {"total": "60s"})
    answer = weir.ask({"a": wire(CHUNKED + chunk(HELLO), *[{"wait": 0.2}, chunk(": tick\n\n")] * 60)}, path=path)
    expect.cut(answer, (502, 504), "hello")
    assert 0.7 < answer.ended_at < 3
    expect.row(answer.rows(1)[0], "a", "idle_timeout", "estimated")
    weir.settles(1, "attempts_total", outcome="idle_timeout")


ODDITIES = {
    "bare CR": lambda text: text.replace("\n", "\r"),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "mixed line ends": lambda text: text.replace("\n\n", "\r\n\n", 1).replace("\n\n", "\r\r", 1),
    "byte order mark": lambda text: "\xef\xbb\xbf" + text,
    "NUL": lambda text: ": \0\n\n" + text,
    "comments": lambda text: ":\n: a\n\n" + text.replace("data:", ":x\ndata:"),
    "id and retry": lambda text: "retry: 10\n\n" + text.replace("data:", "id: 7\nevent: message\ndata:"),
    "no space": lambda text: text.replace("data: ", "data:"),
    "no colon": lambda text: "data\n\n" + text,
    "several lines of data": lambda text: text.replace('"choices"', '\ndata: "choices"'),
    "unknown fields": lambda text: "x-note: 1\n" + text,
    "blank lines": lambda text: "\n\n\n" + text.replace("\n\n", "\n\n\n\n"),
}


@pytest.mark.parametrize("split", [1, 7, 100_000])
@pytest.mark.parametrize("name", ODDITIES)
def test_F29_an_odd_event_stream_passes_exactly_and_is_metered(run, name, split):
    weir = run("a")
    text = ODDITIES[name](HELLO + STOP + REPORT + DONE)
    pieces = [text[at:at + split] for at in range(0, len(text), split)]
    step = wire(CHUNKED, *[chunk(piece) for piece in pieces], "0\r\n\r\n")
    usage = {"include_usage": True}
    plain = weir.ask({"a": step}, path="/v1/chat/completions", stream_options=usage)
    assert (plain.status, plain.ended, plain.body) == (200, "clean", text.encode("latin-1"))
    shaped = weir.ask({"a": step})
    assert (shaped.status, shaped.ended, shaped.text, shaped.done) == (200, "clean", "hello", True)
    for answer in (plain, shaped):
        expect.row(answer.rows(1)[0], "a", "ok", "reported", input=21, output=9)
    weir.settles(2, "attempts_total", outcome="ok")


BAD_UTF8 = {"lone byte": "\xff", "cut in two": "\xe2\x98", "overlong": "\xc0\xaf", "surrogate": "\xed\xa0\x80"}


@pytest.mark.parametrize("name", BAD_UTF8)
def test_F32_bytes_that_are_no_utf8_pass_as_they_are(run, name):
    weir = run("a")
    text = HELLO.replace("hello", f"a{BAD_UTF8[name]}b")
    step = wire(CHUNKED, chunk(text), chunk(STOP), chunk(DONE), "0\r\n\r\n")
    plain = weir.ask({"a": step}, path="/v1/chat/completions", stream_options={"include_usage": True})
    assert plain.body == (text + STOP + DONE).encode("latin-1")
    shaped = weir.ask({"a": step})
    assert f"a{BAD_UTF8[name]}b".encode("latin-1") in shaped.body and shaped.body.endswith(b"data: [DONE]\n\n")
    for answer in (plain, shaped):
        (row,) = answer.rows(1)
        expect.row(row, "a", "ok", "estimated")
        estimated(row, 8)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F28_an_error_event_after_content_is_passed_on(run, path):
    weir = run("ab")
    error = {"code": 503, "message": "engine died"}
    answer = weir.ask({"a": {"error": {"at": 2, "error": error, "done": True}}}, path=path)
    assert answer.status == 200 and answer.ended == "clean"
    last = next(chunk for chunk in answer.chunks if "error" in chunk)
    assert last["error"]["code"] == 503 and answer.text == FIRST_TWO
    if path.startswith("/api"):
        expect.cut(answer, 503, FIRST_TWO)
    assert answer.seen("b") == []
    (row,) = answer.rows(1)
    expect.row(row, "a", "in_band_error", "estimated")
    estimated(row, len(FIRST_TWO.encode()))
    weir.settles(1, "inband_error_total", phase="after_content")


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F28_an_error_event_ends_the_answer_though_the_upstream_stays(run, path):
    """Soon, whatever the idle clock, and with a clean end."""
    weir = run("a", a={"idle": "20s", "total": "30s"})
    error = {"at": 2, "error": {"code": 503, "message": "engine died"}}
    answer = weir.ask({"a": {"error": error, "cut": {"event": 3, "how": "stall"}}}, path=path)
    assert (answer.status, answer.ended) == (200, "clean")
    assert answer.ended_at < 9
    errors = [chunk["error"] for chunk in answer.chunks if "error" in chunk]
    assert [error["code"] for error in errors] == [503], "said once"
    expect.row(answer.rows(1)[0], "a", "in_band_error", "estimated")


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_a_stream_that_comes_in_one_piece_has_no_length(run, path):
    weir = run("a")
    answer = weir.ask({"a": {"split": "whole", "framing": "length"}}, path=path)
    expect.whole(answer)
    assert answer.headers["transfer-encoding"] == "chunked" and "content-length" not in answer.headers


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("split", ["byte", "whole", {"seed": 3}])
@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_F31_any_split_gives_the_same_answer_and_row(run, path, split, eol):
    weir = run("a")
    text = ["na", "ïve ", "☃", " 𝄞", " done"]
    step = {"text": text, "split": split, "eol": eol, "usage_at": "choice"}
    answer = weir.ask({"a": step}, path=path)
    expect.whole(answer, "".join(text))
    assert "�" not in answer.body.decode()
    (row,) = answer.rows(1)
    expect.row(row, "a", "ok", "reported", input=expect.INPUT, output=expect.OUTPUT)
    assert row["flags"] & TERMINAL
    if path.startswith("/v1"):
        sent = answer.weir.chaos.truth.wait("end", id=answer.id)[0]["sent"]
        assert len(answer.body) == sent, "on /v1 the upstream's own bytes"


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F33_an_event_that_is_not_json_harms_nothing(run, path):
    weir = run("a")
    step = {"bad_event": {"at": 2, "data": "this is no JSON {"}}
    answer = weir.ask({"a": step}, path=path)
    assert answer.status == 200 and answer.done and "this is no JSON {" in answer.data
    (row,) = answer.rows(1)
    expect.row(row, "a", "ok", "reported", output=expect.OUTPUT)
    weir.settles(1, "usage_parse_errors_total")


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F33_a_torn_usage_event_is_estimated_and_flagged(run, path):
    weir = run("a")
    step = {"usage_at": "none", "bad_event": {"at": 4, "data": '{"choices":[],"usage":{"prompt_tok'}}
    text = ["one", " two", " three", " four"]
    answer = weir.ask({"a": step | {"text": text}}, path=path)
    assert answer.status == 200 and answer.done
    (row,) = answer.rows(1)
    expect.row(row, "a", "ok", "estimated")
    assert row["flags"] & UNREADABLE
    estimated(row, len("".join(text)))
    weir.settles(1, "usage_estimated_total")


def test_bytes_leave_as_their_event_arrives(run):
    weir = run("a")
    with weir.asking({"a": {"text": ["one", "two", "three"], "pace": 0.3}}) as (_, raw):
        seen = [raw.read_until(word) for word in (b"one", b"two", b"three")]
    gaps = [later - earlier for earlier, later in zip(seen, seen[1:])]
    assert all(0.15 < gap < 0.6 for gap in gaps), seen


BURST = [f"word{n} " for n in range(40)]


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("count", [4, 5, 8, 33])
def test_a_burst_is_whole_at_once_though_nothing_follows(run, path, count):
    weir = run("a", a={"idle": "20s"})
    step = {"text": BURST, "cut": {"event": count, "how": "stall"}}
    with weir.asking({"a": step}, path=path) as (_, raw):
        first = raw.read_until(b"word0 ")
        last = raw.read_until(BURST[count - 1].encode())
    assert last - first < 2, "it waited for an event to come"


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("count", [4, 8, 33])
def test_a_burst_before_a_cut_is_delivered_whole(run, path, count):
    weir = run("a")
    step = {"text": BURST, "cut": {"event": count, "how": "fin"}}
    answer = weir.ask({"a": step}, path=path)
    expect.cut(answer, 502, "".join(BURST[:count]))


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_streams_do_not_mix(run, path):
    """Many at once, each gets its own (S32)."""
    weir = run("a")

    def ask(n):
        return weir.ask({"a": {"text": [f"mark{n} "] * 5, "pace": 0.01}}, path=path)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    for n, answer in enumerate(answers):
        expect.whole(answer, f"mark{n} " * 5)
    assert weir.ledger.wait(64)
    assert len({row["session"] for row in weir.ledger.rows()}) == 64

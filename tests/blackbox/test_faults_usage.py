"""Usage that is missing or odd (F34, F35), and usage that Weir asks for itself."""

import expect
import pytest
from ledger import SUSPECT, TERMINAL


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("stream", [True, False])
def test_F34_absent_usage_is_estimated_and_said_so(run, path, stream):
    weir = run("a")
    step = {"usage_at": "none", "usage": None, "text": ["some words ", "of an answer"]}
    answer = weir.ask({"a": step}, path=path, stream=stream)
    expect.whole(answer, "some words of an answer")
    (row,) = answer.rows(1)
    expect.row(row, "a", "ok", "estimated")
    assert row.estimator and row["flags"] & TERMINAL
    assert 1 <= row["output"] <= len("some words of an answer")
    assert 1 <= row["input"] <= len(answer.sent)
    expect.paid(row, weir.deployment.cost("a", row["input"], row["output"]))
    weir.settles(1, "usage_estimated_total")
    if path.startswith("/api"):
        usage = answer.usage
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (row["input"], row["output"])


def test_F34_tool_arguments_and_reasoning_count_as_delivered(run):
    weir = run("a")
    answer = weir.ask({"a": {"usage_at": "none", "tools": True}})
    assert answer.done
    (row,) = answer.rows(1)
    expect.row(row, "a", "ok", "estimated")
    assert row["output"] >= 1


def table(completion: object, prompt: int = 11) -> dict:
    total = prompt + completion if isinstance(completion, int) else prompt
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


REPEATED = [table(7)] * 4
GROWING = [table(1), table(3), table(5), table(7)]


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("tables", [REPEATED, GROWING], ids=["repeated", "cumulative"])
def test_F35_reports_are_never_summed(run, path, tables):
    weir = run("a")
    answer = weir.ask({"a": {"usage_at": "every", "usages": tables}}, path=path)
    expect.whole(answer)
    (row,) = answer.rows(1)
    expect.row(row, "a", "ok", "reported", input=11, output=7)
    assert not row["flags"] & SUSPECT
    weir.settles(0, "usage_suspect_total")


def test_F35_a_falling_count_is_suspect(run):
    weir = run("a")
    answer = weir.ask({"a": {"usage_at": "every", "usages": [table(7), table(7), table(3)]}})
    expect.whole(answer)
    (row,) = answer.rows(1)
    assert row["output"] in (3, 7) and row["source"] == "reported"
    assert row["flags"] & SUSPECT
    weir.settles(1, "usage_suspect_total")


ODD = {
    "negative": -5,
    "string": "7",
    "huge": 10**18,
    "past u64": 10**30,
    "fraction": 7.5,
    "null": None,
    "object": {"total": 7},
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ODD)
def test_F35_an_odd_count_bills_nothing_absurd(run, name, stream):
    weir = run("a")
    usage = table(ODD[name])
    answer = weir.ask({"a": {"usage": usage, "usage_at": "choice"}}, stream=stream)
    assert answer.status == 200 and answer.ended == "clean"
    assert answer.text == expect.WHOLE
    (row,) = answer.rows(1)
    assert row["outcome"] == "ok"
    assert 0 <= row["output"] <= 4096, "no more tokens than bytes could carry"
    assert row["cost"] <= weir.deployment.cost("a", 4096, 4096)
    if name in ("huge", "past u64", "negative"):
        assert row["flags"] & ~TERMINAL, "an operator must be able to find it"
        weir.settles(1, "usage_suspect_total")


def test_F35_the_last_report_wins_over_an_odd_one(run):
    weir = run("a")
    answer = weir.ask({"a": {"usage_at": "every", "usages": [table(-1), table("x"), table(2), table(7)]}})
    expect.whole(answer)
    assert answer.rows(1)[0]["output"] == 7


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_usage_is_asked_for_when_the_caller_did_not(run, path):
    weir = run("a")
    answer = weir.ask(path=path)
    expect.whole(answer)
    (request,) = answer.seen("a")
    assert '"include_usage":true' in request["body"].replace(" ", "")
    expect.row(answer.rows(1)[0], "a", "ok", "reported", input=expect.INPUT, output=expect.OUTPUT)
    without_choice = [chunk for chunk in answer.chunks if not chunk["choices"]]
    assert without_choice == [], "on /v1 it is removed; on /api/v1 it has one choice"
    assert (answer.usage is None) == path.startswith("/v1")


def test_usage_the_caller_asked_for_arrives_on_v1(run):
    weir = run("a")
    answer = weir.ask(path="/v1/chat/completions", stream_options={"include_usage": True})
    assert answer.chunks[-1]["choices"] == [] and answer.usage["completion_tokens"] == expect.OUTPUT
    assert len(answer.body) == weir.chaos.truth.wait("end", id=answer.id)[0]["sent"]


def test_usage_in_the_final_choice_stays_on_v1(run):
    weir = run("a")
    answer = weir.ask({"a": {"usage_at": "choice"}}, path="/v1/chat/completions")
    assert answer.usage["completion_tokens"] == expect.OUTPUT and answer.done


def test_kinds_are_disjoint(run):
    weir = run("a")
    usage = {
        "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    answer = weir.ask({"a": {"usage": usage}})
    (row,) = answer.rows(1)
    assert row.tokens | {"requests": 0} == {"requests": 0, "input": 60, "cache_read": 40, "output": 30, "reasoning": 20}
    shown = answer.usage
    assert (shown["prompt_tokens"], shown["completion_tokens"], shown["total_tokens"]) == (100, 50, 150)
    assert shown["prompt_tokens_details"]["cached_tokens"] == 40
    assert shown["completion_tokens_details"]["reasoning_tokens"] == 20


@pytest.mark.parametrize("usage_at", ["chunk", "choice"])
def test_stream_and_body_leave_the_same_row(run, usage_at):
    """I19: equal but for the mode, and for what tells one request from another."""
    weir = run("a")
    usage = {
        "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 20},
    }
    for step in ({"usage_at": usage_at, "usage": usage}, {"usage_at": "none", "usage": None}):
        # Bodies of one length, because a prompt is estimated by it.
        asked = [weir.ask({"a": step}, stream=True, seed=10), weir.ask({"a": step}, stream=False, seed=1)]
        rows = [answer.rows(1)[0] for answer in asked]
        own = {"seq", "generation_id", "session", "streamed", "started_us", "ended_us", "first_content_us",
               "duration_us", "upstream_id"}
        left, right = ({key: row[key] for key in row if key not in own} for row in rows)
        assert left == right
        assert left["source"] == ("estimated" if step["usage"] is None else "reported")
        assert [row["streamed"] for row in rows] == [1, 0]

"""What is scraped against what is billed: counters agree with the ledger's rows (I7)."""

import time
from collections import Counter

import expect
from ledger import KINDS
from weir import request

MIX = [
    {},
    {"a": {"status": 500}},
    {"a": {"usage_at": "none"}},
    {"a": {"cut": {"event": 2, "how": "reset"}}},
    {"*": {"status": 400}},
    {"a": {"usage": {
        "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 20},
    }}},
]


def mixed(run):
    """A Weir after requests of every kind, with as many rows as they left."""
    weir = run("ab")
    answers = []
    for path in expect.BOTH_FACES:
        for stream in (True, False):
            for roles in MIX if stream else [step for step in MIX if "cut" not in step.get("a", {})]:
                answers.append(weir.ask(roles, path=path, stream=stream))
    with weir.asking({"*": {"text": ["word "] * 50, "pace": 0.1}}) as (_, raw):
        raw.read_until(b"word")
        provider = next(labels["provider"] for name, labels, value in weir.metrics()
                        if name == "weir_in_flight" and value == 1)
        assert provider in "ab"
    answers.append(weir.ask(model="made/up"))
    weir.settles(0, "in_flight")
    dispatched = sum(len(answer.seen()) for answer in answers)
    rows = weir.ledger.wait(dispatched + 1)
    return weir, answers, rows


def test_I7_counters_equal_rows(run):
    weir, _, rows = mixed(run)
    for (provider, outcome), count in Counter((row["provider"], row["outcome"]) for row in rows).items():
        weir.settles(count, "attempts_total", provider=provider, outcome=outcome)
    weir.settles(len(rows), "attempts_total")
    for provider in "ab":
        of = [row for row in rows if row["provider"] == provider]
        for kind in KINDS:
            weir.settles(sum(row[kind] for row in of), "tokens_total", provider=provider, model="test/m", kind=kind)
        weir.settles(sum(row["cost"] for row in of), "cost_picodollars_total", provider=provider)
    weir.settles(sum(row["source"] == "estimated" for row in rows), "usage_estimated_total")
    weir.settles(len(rows), "ledger_rows_total")


def test_every_request_is_counted_once_by_its_end(run):
    weir, answers, rows = mixed(run)
    weir.settles(len(answers) + 1, "requests_total")
    for outcome, holds in (("ok", lambda a: a.status == 200 and not cut(a)), ("cut", cut),
                           ("caller_fault", lambda a: a.status == 400)):
        weir.settles(sum(map(holds, answers)), "requests_total", outcome=outcome)
    weir.settles(1, "requests_total", outcome="client_abort")
    began = [row for row in rows if row["first_content_us"] is not None]
    weir.settles(len(began), "time_to_first_token_seconds_count")
    dispatched = len({row["generation_id"] for row in rows})
    weir.settles(dispatched, "added_latency_seconds_count")
    assert 0 < weir.metric("added_latency_seconds_sum") < dispatched * 0.1


def test_added_latency_is_not_the_callers_upload(run):
    weir = run("a")
    _, body = weir.body(stream=True)
    with weir.connect() as raw:
        raw.send(request("/v1/chat/completions", [weir.bearer], body)[: -len(body)])
        time.sleep(1)
        raw.send(body)
        expect.whole(raw.read())
    weir.settles(1, "added_latency_seconds_count")
    assert weir.metric("added_latency_seconds_sum") < 0.3


def cut(answer) -> bool:
    return answer.status == 200 and b'"finish_reason":"error"' in answer.body.replace(b" ", b"")


def test_state_is_shown(run):
    """Health, cooldowns, spool and slots, each back where it was once nothing is under way."""
    weir = run("ab")
    weir.settles(2, "endpoints", state="available")
    weir.ask({"a": {"status": 429, "headers": [["retry-after", "1"]]}}).rows(2)
    weir.settles(1, "endpoints", provider="a", state="cooling")
    weir.settles(2, "endpoints")
    weir.settles(1, "cooldowns_total", provider="a", scope="endpoint")
    weir.settles(1, "endpoints", provider="a", state="available")
    for name in ("spool_rows", "slots_used", "spool_oldest_seconds", "sink_errors_total", "panics_total"):
        weir.settles(0, name)
    assert weir.metric("slots") == 16_384 and weir.metric("config_epoch") == 1

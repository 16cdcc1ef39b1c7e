"""Provider selection through the real binary: what the request says, and what live state does to it."""

import json
import signal
import time
from decimal import Decimal
from pathlib import Path

import conf
import expect
import pytest
from test_clients import TOOLS
from test_ledger_commands import weir_says
from test_routing import explained

DOCS = "https://openrouter.ai/docs/api/reference/errors-and-debugging"
EQUAL = {"endpoint": {"price": {"input": "1", "output": "2", "cache_read": "0.1"}}}


def sent(answer, role: str) -> dict:
    """The body that went upstream."""
    return json.loads(answer.seen(role)[0]["body"].encode("latin-1"))


def where(answer) -> str:
    expect.whole(answer)
    return answer.seen()[-1]["role"]


def test_a_session_stays_and_moves_once_when_its_endpoint_fails(run):
    weir = run("ab", a=EQUAL, b=EQUAL)
    home = where(weir.ask(session_id="talk"))
    assert {where(weir.ask(session_id="talk")) for _ in range(12)} == {home}
    other = "b" if home == "a" else "a"
    assert where(weir.ask({home: {"status": 500}}, session_id="talk")) == other
    assert {where(weir.ask(session_id="talk")) for _ in range(12)} == {other}, "it does not go back"
    assert {where(weir.ask()) for _ in range(40)} == {"a", "b"}, "other sessions go anywhere"
    field = [("x-session-id", "by field")]
    assert len({where(weir.ask(headers=field, session_id=None)) for _ in range(12)}) == 1


def test_an_asked_order_is_stronger_than_a_session(run):
    weir = run("ab", a=EQUAL, b=EQUAL)
    home = where(weir.ask(session_id="talk"))
    other = "b" if home == "a" else "a"
    assert where(weir.ask(session_id="talk", provider={"order": [other]})) == other
    assert where(weir.ask(session_id="talk")) == home


def test_what_was_measured_sorts(run):
    weir = run("ab")
    slow = {"a": {"head_delay": 0.4}}
    for _ in range(3):
        assert where(weir.ask(slow)) == "a"
        assert where(weir.ask(provider={"order": ["b"]})) == "b"
    deadline = time.monotonic() + 5
    while where(weir.ask(slow, provider={"sort": "latency"})) != "b":
        assert time.monotonic() < deadline, "what selection reads is a second old at most"
        time.sleep(0.1)
    wish = {"preferred_max_latency": 0.3, "sort": "price"}
    assert where(weir.ask(slow, provider=wish)) == "b", "a cut-off goes before the price"
    assert where(weir.ask(slow, provider={"sort": "price"})) == "a"


def test_what_was_measured_survives_a_restart(run):
    weir = run("ab")
    for _ in range(3):
        assert where(weir.ask({"a": {"head_delay": 0.3}})) == "a"
        assert where(weir.ask(provider={"order": ["b"]})) == "b"
    weir.stop()
    kept = Path(weir.directory) / "state" / "statistics.jsonl"
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert lines[0]["weir_statistics"] == 1
    assert {line["endpoint"] for line in lines[1:]} == {"test/m@a", "test/m@b"}
    weir.launch()
    assert where(weir.ask(provider={"sort": "latency"})) == "b", "known from the first request on"
    weir.stop()
    kept.write_text(kept.read_text()[:-20])
    weir.launch()
    assert where(weir.ask(provider={"sort": "latency"})) == "a", "nothing is known, so the price decides"
    weir.logged("are not used")


def test_a_tier_serves_who_asks_for_it_and_is_told_so(run):
    priority = {"endpoint": {"tag": "a/priority", "tier": "priority"}}
    weir = run("ab", a=priority)
    answer = weir.ask()
    assert where(answer) == "b" and "service_tier" not in sent(answer, "b")
    for fields in ({"service_tier": "priority"}, {"service_tier": "fast"}, {"speed": "fast"}):
        answer = weir.ask(**fields)
        assert where(answer) == "a"
        body = sent(answer, "a")
        assert body["service_tier"] == "priority" and "speed" not in body
        assert answer.rows(1)[0]["tier"] == "priority"
    answer = weir.ask({"a": {"status": 500}}, service_tier="priority")
    assert where(answer) == "b"
    assert "service_tier" not in sent(answer, "b"), "b is priced for none, and billing follows what is served"
    assert sent(weir.ask(service_tier="on_demand"), "b")["service_tier"] == "on_demand", "a provider's own word"
    assert where(weir.ask(provider={"only": ["a/priority"]})) == "a", "its slug opts in"
    assert where(weir.ask(model="test/m:nitro")) in "ab"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_a_reply_is_billed_at_the_tier_that_served_it(run, path, stream):
    weir = run("aa", a={"variant": {"tag": "a/priority", "tier": "priority"}})
    base, dear = ([Decimal(price) / 10**6 for price in conf.PRICES[variant]] for variant in (0, 1))
    tokens = (expect.INPUT, expect.OUTPUT)
    cases = [("priority", "priority", dear), ("default", "", base), ("flex", "priority", dear), (None, "priority", dear)]
    for served, tier, prices in cases:
        step = {} if served is None else {"tier": served}
        answer = weir.ask({"a": step}, path=path, stream=stream, service_tier="priority")
        expect.whole(answer)
        (row,) = answer.rows(1)
        cost = sum(price * count for price, count in zip(prices, tokens, strict=True))
        assert (row["tier"], row["endpoint"], row["charge"]) == (tier, "a/priority", int(cost * 10**12)), served
        if path.startswith("/api"):
            assert Decimal(str(answer.usage["cost"])) == cost
            told = [said["service_tier"] for said in (answer.chunks if stream else [answer.json()]) if "service_tier" in said]
            assert set(told) == {served or "priority"}, told
    # Said late, when the body of the request is gone.
    late = weir.ask({"a": {"tier": "default", "tier_at": 2, "pace": 0.1}}, path=path, stream=stream, service_tier="priority")
    (late,) = late.rows(1)
    assert late["tier"] == "" and late["prompt_bytes"] > 100 and late["flags"] == row["flags"], dict(late)
    # The other way round: a base endpoint that serves at a tier of its own accord.
    (row,) = weir.ask({"a": {"tier": "priority"}}, path=path, stream=stream).rows(1)
    assert (row["tier"], row["endpoint"]) == ("priority", "a")
    done = weir_says("ledger", "verify", "--conf", weir.conf)
    assert done.returncode == 0, done.stdout + done.stderr


def test_options_pass_to_their_provider_only(run):
    weir = run("ab")
    options = {"a": {"made_up": [1], "model": "evil", "stream": False}, "b": {"other": 1}}
    answer = weir.ask({"a": {"status": 500}}, provider={"options": options})
    assert where(answer) == "b"
    first, second = sent(answer, "a"), sent(answer, "b")
    assert (first["made_up"], first["model"], first["stream"]) == ([1], "up-a", True)
    assert second["other"] == 1 and "made_up" not in second and "provider" not in second


def test_what_an_endpoint_does_not_honour_is_not_sent_to_it(run):
    """Contract 2.1: silently dropped. `/v1` is faithful."""
    weir = run("ab", a={"endpoint": {"supported_parameters": ["temperature"]}})
    asked = {"temperature": 0.5, "top_k": 3, "tools": TOOLS, "tool_choice": "auto", "max_tokens": 9}
    sampling = {"temperature": 0.5, "top_k": 3, "max_tokens": 9}
    first = sent(weir.ask(provider={"only": ["a"]}, **asked), "a")
    assert (first["temperature"], first["max_tokens"]) == (0.5, 9)
    assert not first.keys() & {"top_k", "tools", "tool_choice"}
    assert sent(weir.ask(provider={"only": ["b"]}, **asked), "b").items() >= asked.items(), "nothing known of b"
    assert sent(weir.ask(path="/v1/chat/completions", **sampling), "a").items() >= sampling.items()


def test_a_refusal_says_what_each_step_left(run):
    weir = run("abc", b={"extra": {"policy": {"trains": False, "retains": False}}})
    answer = weir.ask(provider={"zdr": True, "ignore": ["b"]})
    error = expect.refused(answer, 404)
    assert error["message"] == (
        "No endpoints found matching your data policy (Zero data retention)."
    )
    assert error["metadata"]["routing_funnel"] == [
        {"step": "candidates", "endpoint_count": 3},
        {"step": "ignored", "endpoint_count": 2},
        {"step": "zdr", "endpoint_count": 0},
    ]
    assert error["metadata"]["failed_routing_step"] == "zdr"
    assert error["availability"] == {
        "code": "privacy_restricted", "retryable": False, "requested_models": ["test/m"],
        "excluded_by": ["allowed_providers", "data_policy:zdr"], "docs_url": DOCS,
    }
    assert (error["error_type"], error["http_status"]) == ("not_found", 404)
    weir.settles(2, "excluded_total", reason="zdr")
    weir.settles(1, "excluded_total", reason="ignored")
    answer = weir.ask(model="test/none")
    error = expect.refused(answer, 400)
    assert error["message"] == "test/none is not a valid model ID"
    assert error["availability"]["code"] == "model_not_found"


def test_a_refusal_tells_who_is_concerned_and_what_failed_before(run):
    """Contract 5.4: capacity of all is exhausted, with the least wait, first by their answers, then by live state."""
    weir = run({"test/m": "ab", "test/n": "c"})
    limited = {role: {"status": 429, "headers": [["retry-after", str(wait)]]} for role, wait in zip("abc", (70, 50, 60))}
    first = weir.ask(limited, models=["test/n"])
    error = expect.refused(first, 429)
    assert error["message"] == "Provider returned error"
    assert error["metadata"]["previous_errors"] == [
        {"provider": name, "code": "rate_limit_exceeded", "status": 429} for name in "AB"
    ]
    wanted = {
        "code": "capacity_exhausted", "retryable": True, "requested_models": ["test/m", "test/n"],
        "fallback_models": ["test/n"], "affected_providers": ["A", "B", "C"], "docs_url": DOCS,
    }
    assert error["availability"] == wanted | {"retry_after": 50}
    assert first.headers["retry-after"] == "50"
    later = weir.ask(models=["test/n"])
    error = expect.refused(later, 429)
    assert 40 <= error["availability"].pop("retry_after") <= 50
    assert error["availability"] == wanted
    assert later.seen() == []


def test_all_that_is_overloaded_is_503_and_one_failure_is_not_told_twice(run):
    weir = run("ab")
    answer = weir.ask({"a": {"status": 503}, "b": {"status": 529}})
    error = expect.refused(answer, 503)
    assert error["availability"]["code"] == "temporarily_unavailable"
    assert error["availability"]["affected_providers"] == ["A", "B"]
    assert int(answer.headers["retry-after"]) >= 1
    assert error["metadata"]["previous_errors"] == [{"provider": "A", "code": "provider_overloaded", "status": 503}]


def test_a_keyless_endpoint_that_wants_a_key_gives_way(run):
    weir = run("ab", a={"extra": {"keyless": True}})
    for _ in range(3):
        answer = weir.ask({"a": {"status": 401}}, provider={"order": ["a"]})
        assert where(answer) == "b"
        assert len(answer.seen("a")) <= 1
    assert where(weir.ask({"a": {"status": 401}})) == "b"
    said = explained(weir, json.dumps({"model": "test/m", "messages": []}).encode())[1]
    assert "excluded  a: cooling" in said or "demoted by outage" in said, said


def test_a_model_is_asked_where_it_answers(run):
    weir = run({"test/m": "a", "test/e": "b"})
    models = weir.conf / "models.toml"
    embeds = 'slug = "test/e"\noutput_modalities = ["embeddings"]'
    models.write_text(models.read_text().replace('slug = "test/e"', embeds))
    weir.process.send_signal(signal.SIGHUP)
    weir.settles(1, "reload_total", result="applied")
    error = expect.refused(weir.ask(model="test/e"), 400)
    assert error["availability"]["code"] == "wrong_endpoint"
    assert error["message"] == "test/e is not served by this endpoint. Send it to embeddings"
    assert where(weir.ask(model="test/m")) == "a"


def test_variants_name_the_model_they_stand_on(run):
    weir = run("ab")
    for model, first in (("test/m:floor", "a"), ("test/m:exacto", "a")):
        answer = weir.ask(model=model)
        assert where(answer) == first
        assert answer.chunks[0]["model"] == "test/m"
    expect.refused(weir.ask(model="test/m:free"), 400)


def test_endpoints_of_all_models_in_one_sort(run):
    weir = run({"test/m": "ba", "test/n": "cd"})
    fields = {"model": "test/m", "models": ["test/n"]}
    both = {"by": "price", "partition": "none"}
    answer = weir.ask({"b": {"status": 500}}, provider={"sort": both}, **fields)
    assert [request["role"] for request in answer.seen()] == ["b", "c"], "the cheapest of either"
    answer = weir.ask({"b": {"status": 500}}, provider={"sort": "price"}, **fields)
    assert [request["role"] for request in answer.seen()] == ["b", "a"], "model by model"
    fails = {role: {"status": 500} for role in "abcd"}
    answer = weir.ask(fails, provider={"sort": both, "allow_fallbacks": False}, **fields)
    assert len(answer.seen()) == 1, "one endpoint of all"


def test_the_endpoint_whose_tool_calls_are_valid_goes_first(run):
    """Two endpoints that differ in what they call a tool with; the worse one is cheaper and faster."""
    weir = run("ab")
    answers = {"a": {"tools": '{"town":7}'}, "b": {"tools": True, "head_delay": 0.02}}
    for count in range(100):
        for role in "ab":
            answer = weir.ask(answers, tools=TOOLS, stream=count % 2 == 0, provider={"only": [role]})
            assert answer.status == 200
    weir.settles(100, "tool_replies_total", provider="a", verdict="schema_mismatch")
    weir.settles(100, "tool_replies_total", provider="b", verdict="valid")
    ask = {"model": "test/m", "messages": [], "provider": {"sort": "exacto"}}
    deadline = time.monotonic() + 10
    while not (text := explained(weir, json.dumps(ask).encode())[1]).count("tool errors 100.0 %"):
        assert time.monotonic() < deadline, "what selection reads is a second old at most"
        time.sleep(0.1)
    ranks = [line for line in text.splitlines() if line.startswith("rank")]
    assert "b: " in ranks[0] and "tool errors 0.0 %" in ranks[0]
    assert where(weir.ask(provider={"sort": "exacto"})) == "b"
    assert where(weir.ask(provider={"sort": "throughput"})) == "a"

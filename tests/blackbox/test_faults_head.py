"""Faults before content (reliability.md, section 3 B, and F27)."""

import json
import signal
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import conf
import expect
import pytest

SILENT = {"do": "silence", "hold": 20}
HEAD_ONLY = {"first_delay": 20}


def brisk(providers, outcome):
    """Short clocks where the outcome is that one runs out."""
    return dict.fromkeys(providers, conf.BRISK) if outcome.endswith("timeout") else {}


def failover(run, step, outcome, status=0, source="none", **ask):
    """The first endpoint fails so, the second answers; both leave a row."""
    weir = run("ab", **brisk("a", outcome))
    answer = weir.ask({"a": step}, **ask)
    expect.whole(answer)
    failed, good = answer.rows(2)
    expect.row(failed, "a", outcome, source, attempt=1, status=status)
    expect.free(failed) if source == "none" else expect.insured(failed, failed["cost"])
    expect.row(good, "b", "ok", "reported", attempt=2, status=200)
    expect.paid(good, weir.deployment.cost("b", expect.INPUT, expect.OUTPUT))
    weir.settles(1, "attempts_total", provider="a", outcome=outcome)
    weir.settles(1, "attempts_total", provider="b", outcome="ok")
    weir.settles(1, "retries_total")
    weir.settles(1, "requests_total", outcome="ok")
    return weir, answer


def hopeless(run, step, outcome, status, endpoints="abcd"):
    """Every endpoint fails so: a real status after three attempts."""
    weir = run(endpoints, **brisk(endpoints, outcome))
    answer = weir.ask({"*": step})
    error = expect.refused(answer, status)
    rows = answer.rows(min(3, len(endpoints)))
    for number, row in enumerate(rows, 1):
        expect.row(row, "abcd"[number - 1], outcome, attempt=number)
        expect.free(row)
    weir.settles(len(rows), "attempts_total", outcome=outcome)
    return weir, answer, error


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F12_reset_before_the_head_fails_over(run, stream, path):
    failover(run, {"do": "reset"}, "reset", stream=stream, path=path)


def test_F12_closed_before_the_head_fails_over(run):
    failover(run, {"do": "close"}, "reset")


def test_F12_three_resets_are_502(run):
    hopeless(run, {"do": "reset"}, "reset", 502)


def test_F20_what_is_not_http_fails_over(run):
    failover(run, {"do": "garbage"}, "malformed")


@pytest.mark.parametrize("stream", [True, False])
def test_F13_silence_fails_over_at_its_clock(run, stream):
    _, answer = failover(run, SILENT, "first_content_timeout", stream=stream)
    assert 0.55 < answer.head_at < 2.5


def test_F13_only_silence_is_504(run):
    _, answer, _ = hopeless(run, SILENT, "first_content_timeout", 504)
    assert answer.ended_at < 6


def test_F13_a_model_may_have_a_clock_of_its_own(run):
    weir = run({"test/fast": "a", "test/thinks": "a"}, a=conf.BRISK)
    models = weir.conf / "models.toml"
    before, thinks = models.read_text().split('slug = "test/thinks"')
    clock = 'provider = "a"\ntimeouts = { first_content = "4s" }'
    models.write_text(before + 'slug = "test/thinks"' + thinks.replace('provider = "a"', clock))
    weir.process.send_signal(signal.SIGHUP)
    weir.settles(1, "reload_total", result="applied")
    step = {"a": {"first_delay": 1.5}}
    expect.whole(weir.ask(step, model="test/thinks"))
    answer = weir.ask(step, model="test/fast")
    expect.refused(answer, 504)
    expect.row(answer.rows(1)[0], "a", "first_content_timeout")


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_F14_a_head_without_an_event_fails_over(run, framing):
    step = HEAD_ONLY | {"framing": framing}
    _, answer = failover(run, step, "first_content_timeout", status=200)
    assert 0.55 < answer.head_at < 2.5, "the head is held until content"


def test_F14_comments_are_no_content(run):
    step = {"comments": ["PROCESSING"] * 50, "pace": 0.2}
    failover(run, step, "first_content_timeout", status=200)


def test_F14_a_role_and_empty_deltas_are_no_content(run):
    role = '{"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}'
    step = {"text": [""] * 50, "bad_event": {"at": 0, "data": role}, "pace": 0.2}
    _, answer = failover(run, step, "first_content_timeout", status=200)
    assert 0.55 < answer.head_at < 2.5, "none of them winds the clock up again"


def test_F14_only_heads_are_504(run):
    hopeless(run, HEAD_ONLY, "first_content_timeout", 504)


def _http_date(seconds: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("form", ["seconds", "date", "negative", "huge", "nonsense", "none"])
def test_F15_a_rate_limit_cools_the_endpoint_and_fails_over(run, form):
    after = {"seconds": "20", "date": _http_date(20), "negative": "-5", "huge": "1000000000",
             "nonsense": "soon", "none": None}[form]
    step = {"status": 429, "headers": [["retry-after", after]] if after else []}
    weir, _ = failover(run, step, "rate_limited", status=429)
    weir.settles(1, "cooldowns_total", provider="a", scope="endpoint")
    following = weir.ask()
    expect.whole(following)
    assert following.seen("a") == [], "a cooling endpoint is not asked"


def test_F15_a_cooldown_ends(run):
    weir = run("ab")
    weir.ask({"a": {"status": 429, "headers": [["retry-after", "1"]]}})
    time.sleep(1.3)
    answer = weir.ask()
    expect.whole(answer)
    assert len(answer.seen("a")) == 1, "a rate limit is no failure of health"


def test_F15_only_rate_limits_are_429_with_the_wait(run):
    step = {"status": 429, "headers": [["retry-after", "1000000000"]]}
    _, answer, error = hopeless(run, step, "rate_limited", 429, "ab")
    assert error["message"] == "Provider returned error"
    assert 1 <= int(answer.headers["retry-after"]) <= 300
    assert error["metadata"]["retry_after_seconds_raw"] == 1_000_000_000 and error["metadata"]["remedy_hint"]
    assert error["metadata"]["provider_error_code"] == "chaos_429"


@pytest.mark.parametrize("rest", [[], [{"wait": 9}, "x"]], ids=["none", "late"])
def test_F15_a_rate_limit_whose_body_does_not_come_is_told_without_its_code(run, rest):
    head = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 9\r\n\r\n"
    _, answer, error = hopeless(run, {"do": "wire", "send": [head, *rest]}, "rate_limited", 429, "a")
    assert "provider_error_code" not in error["metadata"] and answer.ended_at < 5


def test_F15_the_wait_is_said_though_the_upstream_named_none(run):
    _, answer, error = hopeless(run, {"status": 429}, "rate_limited", 429, "a")
    assert answer.headers["retry-after"] == "5" and "retry_after_seconds_raw" not in error["metadata"]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_F16_a_server_error_fails_over(run, status):
    failover(run, {"status": status}, "server_error", status=status)


def test_F16_server_errors_everywhere_are_502_and_show_no_body(run):
    step = {"status": 500, "message": "canary-upstream-body"}
    _, answer, error = hopeless(run, step, "server_error", 502)
    assert error["message"] == "Provider returned error"
    assert b"canary-upstream-body" not in answer.body


@pytest.mark.parametrize("status", [401, 402, 403])
def test_F18_a_refused_credential_cools_it_and_fails_over(run, status):
    weir, _ = failover(run, {"status": status, "echo_key": True}, "credential", status=status)
    weir.settles(1, "cooldowns_total", provider="a", scope="credential")
    following = weir.ask()
    expect.whole(following)
    assert following.seen("a") == [], "its other models would fail the same way"


MODERATION = {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["violence"], "flagged_input": "a ... b"}}}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F18_a_403_of_moderation_is_the_callers_and_cools_nothing(run, path, stream):
    weir = run("ab")
    raw = json.dumps(MODERATION)
    answer = weir.ask({"a": {"status": 403, "raw": raw}}, path=path, stream=stream)
    if path.startswith("/api"):
        metadata = expect.refused(answer, 403, "Provider returned error")["metadata"]
        assert (metadata["raw"], metadata["reasons"], metadata["flagged_input"]) == (raw, ["violence"], "a ... b")
        assert (metadata["provider_name"], metadata["model_slug"]) == ("A", "test/m")
    else:
        assert (answer.status, answer.body) == (403, raw.encode())
    assert answer.seen("b") == [], "another endpoint of the model would say the same"
    (row,) = answer.rows(1)
    expect.row(row, "a", "client_fault", status=403)
    expect.free(row)
    following = weir.ask()
    expect.whole(following)
    assert len(following.seen("a")) == 1, "others are served as before"
    assert weir.metric("cooldowns_total") == 0


def test_F18_another_model_may_take_what_moderation_refused(run):
    weir = run({"test/m": "ab", "test/n": "c"})
    answer = weir.ask({"a": {"status": 403, "raw": json.dumps(MODERATION)}}, models=["test/n"])
    expect.whole(answer)
    assert answer.seen("b") == [] and len(answer.seen("c")) == 1


@pytest.mark.parametrize("raw", ["", "<html>no</html>", '{"error":{"type":"permission_error","message":"no"}}'])
def test_F18_any_other_403_is_of_the_credential(run, raw):
    weir, _ = failover(run, {"status": 403, "raw": raw}, "credential", status=403)
    weir.settles(1, "cooldowns_total", provider="a", scope="credential")


def test_F18_a_refused_credential_alone_is_502_and_names_no_key(run):
    weir, answer, _ = hopeless(run, {"status": 401, "echo_key": True}, "credential", 502, "a")
    weir.no_secret(answer.body.decode())
    assert b"Bearer" not in answer.body


@pytest.mark.parametrize("status", [400, 404, 413, 422])
@pytest.mark.parametrize("stream", [True, False])
def test_F19_the_callers_fault_passes_as_it_came_on_v1(run, status, stream):
    weir = run("ab")
    raw = '{"error": {"message": "too long",  "code":"x"}}'
    answer = weir.ask({"a": {"status": status, "raw": raw}}, path="/v1/chat/completions", stream=stream)
    assert (answer.status, answer.body) == (status, raw.encode())
    assert answer.seen("b") == [], "another endpoint would say the same"
    (row,) = answer.rows(1)
    expect.row(row, "a", "client_fault", status=status)
    expect.free(row)
    weir.settles(1, "attempts_total", provider="a", outcome="client_fault")
    weir.settles(1, "requests_total", face="faithful", outcome="caller_fault")


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422, 424, 451])
def test_F19_the_callers_fault_is_wrapped_on_api_v1(run, status):
    weir = run("ab")
    raw = '{"error": {"message": "too long",  "code":"x"}}'
    answer = weir.ask({"a": {"status": status, "raw": raw}})
    error = expect.refused(answer, status, "Provider returned error")
    assert error["metadata"]["raw"] == raw
    assert error["metadata"]["provider_name"] == "A"
    assert answer.seen("b") == []
    expect.row(answer.rows(1)[0], "a", "client_fault", status=status)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F19_a_refusal_without_a_body_is_one_too(run, path):
    weir = run("ab")
    answer = weir.ask({"a": {"status": 400, "raw": ""}}, path=path)
    if path.startswith("/api"):
        error = expect.refused(answer, 400, "Provider returned error")
        assert error["metadata"]["provider_name"] == "A"
    assert (answer.status, answer.ended) == (400, "clean")
    assert answer.seen("b") == []
    expect.row(answer.rows(1)[0], "a", "client_fault", status=400)


def test_F19_the_next_model_is_tried(run):
    weir = run({"test/m": "ab", "test/n": "c"})
    answer = weir.ask({"a": {"status": 400}}, models=["test/n"])
    expect.whole(answer)
    assert answer.seen("b") == [] and len(answer.seen("c")) == 1
    first, second = answer.rows(2)
    expect.row(first, "a", "client_fault", model="test/m")
    expect.row(second, "c", "ok", "reported", model="test/n")


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F27_an_error_as_first_event_fails_over(run, path):
    step = {"error": {"at": 0, "error": {"code": 529, "message": "overloaded"}}}
    weir, _ = failover(run, step, "in_band_error", status=200, path=path)
    weir.settles(1, "inband_error_total", phase="before_content")


def test_F27_an_error_in_an_unstreamed_200_fails_over(run):
    step = {"raw": '{"error":{"code":503,"message":"busy"}}'}
    failover(run, step, "in_band_error", status=200, stream=False)


TOO_LONG = {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("stream", [True, False])
def test_F27_what_the_caller_did_wrong_is_told_as_such_and_is_nobodys_failure(run, path, stream):
    weir = run("ab")
    step = {"error": {"at": 0, "error": TOO_LONG}} if stream else {"raw": json.dumps({"error": TOO_LONG})}
    for _ in range(4):
        answer = weir.ask({"a": step}, path=path, stream=stream)
        error = expect.refused(answer, 400, "Provider returned error", "context_length_exceeded")
        assert json.loads(error["metadata"]["raw"]) == TOO_LONG
        assert answer.seen("b") == [], "another endpoint would say the same"
        (row,) = answer.rows(1)
        expect.row(row, "a", "in_band_error", status=200)
        expect.free(row)
    following = weir.ask()
    expect.whole(following)
    assert len(following.seen("a")) == 1, "others are served as before"


def test_F27_after_content_too_it_is_nobodys_failure(run):
    weir = run("a")
    for _ in range(4):
        weir.ask({"a": {"error": {"at": 2, "error": TOO_LONG}}})
    expect.whole(weir.ask())


def test_F27_the_next_model_is_tried(run):
    weir = run({"test/m": "ab", "test/n": "c"})
    answer = weir.ask({"a": {"error": {"at": 0, "error": TOO_LONG}}}, models=["test/n"])
    expect.whole(answer)
    assert answer.seen("b") == [] and len(answer.seen("c")) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_F27_only_rate_limits_inside_are_429(run, stream):
    error = {"code": 429, "message": "slow down"}
    step = {"error": {"at": 0, "error": error}} if stream else {"raw": json.dumps({"error": error})}
    weir = run("ab")
    error = expect.refused(weir.ask({"*": step}, stream=stream), 429, "Provider returned error")
    assert error["availability"]["code"] == "capacity_exhausted"
    assert error["metadata"]["provider_error_code"] == "429"
    weir.settles(2, "cooldowns_total", scope="endpoint")


def test_F27_only_error_events_are_a_real_status(run):
    step = {"error": {"at": 0, "error": {"code": 500, "message": "canary-inner"}}}
    _, answer, _ = hopeless(run, step, "in_band_error", 502)
    assert answer.headers["content-type"].startswith("application/json")

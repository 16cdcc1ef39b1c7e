"""What callers and operators are told of a choice: openrouter_metadata, POST /admin/explain, rules."""

import json
import subprocess
import urllib.error
import urllib.request

import expect
import pytest
import weir as weirs

ASKS = [("X-OpenRouter-Metadata", "enabled")]
FAILS = {"status": 500}


def told(answer, whole: bool) -> dict:
    """The metadata of a good answer; nothing else of a stream carries it."""
    expect.whole(answer)
    if whole:
        return answer.json()["openrouter_metadata"]
    assert not any("openrouter_metadata" in chunk for chunk in answer.chunks[:-1])
    assert answer.chunks[-1]["usage"]
    return answer.chunks[-1]["openrouter_metadata"]


@pytest.mark.parametrize("stream", [True, False])
def test_who_asks_is_told_how_the_request_was_routed(run, stream):
    weir = run("ab")
    metadata = told(weir.ask({"a": FAILS}, headers=ASKS, stream=stream), not stream)
    assert metadata == {
        "requested": "test/m", "strategy": "direct", "region": None, "attempt": 2, "is_byok": False,
        "summary": "available=2, selected=B",
        "endpoints": {"total": 2, "available": [
            {"provider": "A", "model": "test/m", "selected": False},
            {"provider": "B", "model": "test/m", "selected": True},
        ]},
        "attempts": [
            {"provider": "A", "model": "test/m", "status": 500},
            {"provider": "B", "model": "test/m", "status": 200},
        ],
    }
    older = [("X-OpenRouter-Experimental-Metadata", "Enabled")]
    fields = {"provider": {"only": ["b"]}, "stream": stream}
    assert told(weir.ask(headers=older, **fields), not stream)["endpoints"]["total"] == 2
    for headers, path in (([], "/api/v1"), ([("X-OpenRouter-Metadata", "all")], "/api/v1"), (ASKS, "/v1")):
        answer = weir.ask(headers=headers, path=f"{path}/chat/completions", **fields)
        expect.whole(answer)
        assert b"openrouter_metadata" not in answer.body


def test_errors_carry_it_beside_them(run):
    weir = run("ab")
    answer = weir.ask({"a": FAILS, "b": {"status": 503}}, headers=ASKS)
    expect.refused(answer, 502)
    metadata = answer.json()["openrouter_metadata"]
    assert [attempt["status"] for attempt in metadata["attempts"]] == [500, 503]
    assert metadata["summary"] == "available=2, selected=none"
    answer = weir.ask(headers=ASKS, provider={"only": ["a"], "ignore": ["a"]})
    expect.refused(answer, 404)
    metadata = answer.json()["openrouter_metadata"]
    assert metadata["endpoints"] == {"total": 2, "available": []} and metadata["attempts"] == []
    answer = weir.ask({"b": {"status": 400}}, headers=ASKS, provider={"only": ["b"]})
    expect.refused(answer, 400)
    assert answer.json()["openrouter_metadata"]["attempts"][-1]["status"] == 400
    answer = weir.ask({"b": {"cut": {"event": 4, "how": "fin"}}}, headers=ASKS, provider={"only": ["b"]})
    expect.cut(answer, 502)
    assert answer.chunks[-1]["openrouter_metadata"]["summary"] == "available=1, selected=B"


def test_what_came_to_no_model_is_told_too(run, tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "10.toml").write_text(RULES)
    weir = run("ab", {"rules": str(tmp_path / "rules")})
    number = ("x-number", "7")
    for fields, headers, status in ({"model": "test/none"}, [], 400), ({}, [number], 403):
        answer = weir.ask(headers=[*ASKS, *headers], **fields)
        expect.refused(answer, status)
        metadata = answer.json()["openrouter_metadata"]
        assert metadata["requested"] == fields.get("model", "test/m")
        assert metadata["endpoints"] == {"total": 0, "available": []} and metadata["attempts"] == []
        assert "openrouter_metadata" not in weir.ask(headers=headers, **fields).json()


def test_the_strategy_says_how_a_name_came_to_its_model(run):
    weir = run({"test/m": "a", "test/n": "b"})
    def strategy(**fields):
        return told(weir.ask(headers=ASKS, **fields), False)["strategy"]
    assert strategy() == "direct"
    assert strategy(models=["test/n"]) == "fallback"
    assert strategy(model="test/m:floor") == "direct"


def explained(weir, body: bytes, query: str = "", **headers: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{weir.admin}/admin/explain{query}"
    asked = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(asked, timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def test_operators_are_told_what_the_command_says_and_what_is_live(run):
    weir = run("ab")
    body = json.dumps({"model": "test/m", "messages": [], "provider": {"ignore": ["b"]}}).encode()
    command = [weirs.binary(), "explain", "--conf", weir.conf, "--key", "tester", "--seed", "7", "-"]
    said = subprocess.run(command, input=body, capture_output=True, check=True).stdout.decode()
    assert explained(weir, body, "?key=tester&seed=7") == (200, said)
    assert "excluded  b: ignored\n" in said
    limited = {"status": 429, "headers": [["retry-after", "60"]]}
    expect.whole(weir.ask({"a": limited}))
    plain = json.dumps({"model": "test/m", "messages": []}).encode()
    status, text = explained(weir, plain)
    assert (status, "excluded  a: cooling\n" in text) == (200, True), text
    expect.refused(weir.ask({"b": {"status": 500}}), 502)
    expect.whole(weir.ask({"b": {"finish": "length"}}, tools=[{"type": "function", "function": {"name": "f"}}]))
    weir.settles(0, "in_flight")
    said = explained(weir, plain)[1]
    assert ", cut short 100.0 %, 1 server errors" in said and " first content in " in said
    assert explained(weir, plain, "?key=nobody") == (404, "no key is called nobody\n")
    assert explained(weir, b"{")[1].startswith("refused   400 ")
    weir.settles(2, "requests_total", face="openrouter", operation="chat", outcome="ok")


RULES = """
[[rule]]
name = "blue-goes-to-b"
when = { header = { x-team = "blue" } }
prefer = "b"

[[rule]]
name = "small-stays"
when = { cel = "max_tokens > 0 && max_tokens < 10" }
pin = "b"

[[rule]]
name = "numbers-only"
when = { cel = "header_x_number != '' && int(header_x_number) > 5" }
reject = { status = 403, message = "Too many." }
"""


def test_rules_choose(run, tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "10.toml").write_text(RULES)
    weir = run("ab", {"rules": str(tmp_path / "rules")})
    def where(**fields):
        answer = weir.ask(session_id=None, **fields)
        expect.whole(answer)
        return answer.seen()[-1]["role"]
    blue = [("x-team", "blue")]
    assert {where(headers=blue) for _ in range(8)} == {"b"}
    body = json.dumps({"model": "test/m", "messages": []}).encode()
    assert "rank 1    b" in explained(weir, body, **{"x-team": "blue"})[1]
    weir.settles(8, "rule_hits_total", rule="blue-goes-to-b")
    assert where(max_tokens=5) == "b"
    expect.refused(weir.ask(headers=[("x-number", "7")]), 403, "Too many.")
    message = "The rule numbers-only cannot be evaluated"
    expect.refused(weir.ask(headers=[("x-number", "seven")]), 500, message)
    weir.settles(1, "rule_faults_total")

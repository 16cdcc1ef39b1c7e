"""What an attempt is said to cost, who pays it, who is to blame, and where it can be read."""

import json
import subprocess
from datetime import date, datetime, timedelta, timezone

import expect
import pytest
from ledger import QUARANTINED, ZERO
from test_basics_api import get
from weir import binary

NOW = datetime.now(timezone.utc)
BASE = {"input": "1", "output": "2"}


def hours(start: int, end: int) -> dict:
    """A window of every day, in hours from now."""
    at = [(NOW + timedelta(hours=h)).strftime("%H:%M") for h in (start, end)]
    return {"utc_start": at[0], "utc_end": at[1]}


def day(days: int) -> date:
    return (NOW + timedelta(days=days)).date()


# Prices of an endpoint, and pico-dollars that 11 prompt and 7 completion tokens come to.
PRICED = {
    "flat": (BASE, 11 * 1_000_000 + 7 * 2_000_000),
    "discounted": (BASE | {"discount": "0.25"}, 11 * 750_000 + 7 * 1_500_000),
    "per request": (BASE | {"request": "0.000001"}, 11 * 1_000_000 + 7 * 2_000_000 + 1_000_000),
    "to the last digit": ({"input": "0.000001", "output": "0.000003"}, 11 * 1 + 7 * 3),
    "a long prompt": (BASE | {"overrides": [{"min_prompt_tokens": 11, "input": "3"}]}, 11 * 3_000_000 + 7 * 2_000_000),
    "a prompt too short": (BASE | {"overrides": [{"min_prompt_tokens": 12, "input": "3"}]}, 11 * 1_000_000 + 7 * 2_000_000),
    "this hour": (BASE | {"overrides": [hours(-1, 2) | {"output": "5"}]}, 11 * 1_000_000 + 7 * 5_000_000),
    "another hour": (BASE | {"overrides": [hours(2, 3) | {"output": "5"}]}, 11 * 1_000_000 + 7 * 2_000_000),
    "since yesterday": ([BASE, {"from": day(-1), "input": "4", "output": "4"}], 18 * 4_000_000),
    "from the day after tomorrow": ([BASE, {"from": day(2), "input": "4", "output": "4"}], 11 * 1_000_000 + 7 * 2_000_000),
}


@pytest.mark.parametrize("name", PRICED)
def test_what_the_wire_the_row_and_the_price_table_say_is_one(run, name):
    prices, cost = PRICED[name]
    weir = run("a", a={"endpoint": {"price": prices}})
    answer = weir.ask()
    expect.whole(answer)
    (row,) = answer.rows(1)
    expect.paid(row, cost)
    exact = json.loads(answer.data[-2], parse_float=str)["usage"]["cost"]
    assert exact == f"{cost / 10**12:.12f}".rstrip("0")
    verify = subprocess.run([binary(), "ledger", "verify", "--ledger", weir.ledger.path], capture_output=True, text=True)
    assert verify.returncode == 0 and "1 rows, 0 wrong" in verify.stdout, verify.stdout + verify.stderr
    assert "1 price versions" in verify.stdout


EMPTY = {"raw": json.dumps({"id": "x", "object": "chat.completion", "choices": [], "usage":
                            {"prompt_tokens": 11, "completion_tokens": 0, "total_tokens": 11}})}
FAILED = {
    "an error after content": {"error": {"at": 2, "error": {"message": "gone", "code": 500}}, "usage_at": "every"},
    "an error as its finish reason": {"finish": "error"},
    "a cut": {"cut": {"event": 2, "how": "fin"}},
}


@pytest.mark.parametrize("policy", ["insured", "delivered"])
@pytest.mark.parametrize("name", FAILED)
def test_a_completion_that_failed_its_caller_costs_only_the_operator(run, name, policy):
    weir = run("a", {"ledger": {"charge": policy}})
    answer = weir.ask({"a": FAILED[name]})
    (row,) = answer.rows(1)
    assert row["committed"] and row["cost"] > 0 and row["policy"] == policy, dict(row)
    assert row["charge"] == (0 if policy == "insured" else row["cost"])
    if answer.done:
        assert answer.usage["cost"] * 10**12 == pytest.approx(row["charge"])


def test_all_attempts_are_charged_where_the_policy_says_so(run):
    weir = run("ab", {"ledger": {"charge": "all"}})
    answer = weir.ask({"a": EMPTY}, stream=False)
    expect.whole(answer)
    first, second = answer.rows(2)
    assert (first["outcome"], first["cause"]) == ("empty", "provider")
    assert first["charge"] == first["cost"] == 11 * 1_000_000
    assert answer.usage["cost"] * 10**12 == pytest.approx(first["charge"] + second["charge"])
    reply = get(weir, f"/api/v1/generation?id={answer.headers['x-generation-id']}", weir.bearer)
    assert reply.json()["data"]["total_cost"] * 10**12 == pytest.approx(first["charge"] + second["charge"])


def test_a_row_says_who_caused_its_end(run):
    weir = run("a")
    whole = weir.ask()
    fault = weir.ask({"a": {"status": 400}})
    with weir.asking({"a": {"text": ["word "] * 20, "pace": 0.05}}) as (left, raw):
        raw.read_until(b"word")
        raw.close()
    causes = [weir.ledger.wait(1, session=id)[0]["cause"] for id in (whole.id, fault.id, left)]
    assert causes == [None, "caller", "caller"]


def test_a_report_that_bytes_do_not_explain_is_quarantined(run):
    weir = run("a")
    usage = {"prompt_tokens": 11, "completion_tokens": 50_000, "total_tokens": 50_011}
    answer = weir.ask({"a": {"usage": usage}})
    expect.whole(answer)
    (row,) = answer.rows(1)
    assert row["flags"] & QUARANTINED and row["output"] == 50_000
    weir.settles(1, "usage_quarantined_total")
    assert not weir.ask().rows(1)[0]["flags"] & QUARANTINED


def test_I18_a_whole_answer_of_nothing_raises_the_alarm(run):
    weir = run("a")
    none = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    answer = weir.ask({"a": {"usage": none}})
    expect.whole(answer)
    assert answer.rows(1)[0]["flags"] & ZERO
    weir.ask()
    weir.settles(1, "usage_zero_total")


def test_activity_is_right_the_moment_an_answer_ends(run):
    weir = run({"test/m": "a", "test/n": "a"})
    asked = {"test/m": 0, "test/n": 0}
    for turn in range(30):
        model = list(asked)[turn % 2]
        weir.ask(model=model, stream=turn % 3 > 0)
        asked[model] += 1
        reply = get(weir, "/api/v1/activity", weir.bearer)
        assert reply.status == 200, reply.body
        rows = {row["model"]: row for row in reply.json()["data"]}
        for name, count in asked.items():
            row = rows.get(name, {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0, "usage": 0})
            found = (row["requests"], row["prompt_tokens"], row["completion_tokens"])
            assert found == (count, count * expect.INPUT, count * expect.OUTPUT), (turn, rows)
            assert row["usage"] * 10**12 == pytest.approx(count * weir.deployment.cost("a", expect.INPUT, expect.OUTPUT))


def test_activity_is_of_the_callers_workspace_and_of_what_it_asks(run):
    weir = run("a")
    weir.ask(user="someone")
    today = datetime.now(timezone.utc).date()

    def count(query: str) -> list[int]:
        return [row["requests"] for row in get(weir, f"/api/v1/activity?{query}", weir.bearer).json()["data"]]

    assert count(f"date={today}") == [1] and count(f"date={today - timedelta(days=1)}") == []
    assert count("user_id=someone") == [1] and count("user_id=another") == []
    assert count("api_key_hash=" + "00" * 32) == []
    expect.refused(get(weir, "/api/v1/activity?date=yesterday", weir.bearer), 400)
    expect.refused(get(weir, "/api/v1/activity"), 401)

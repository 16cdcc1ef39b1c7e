"""An agent's conversation keeps the endpoint that has its prompt cached."""

import itertools

import expect
import pytest
from test_caps import reload
from test_clients import TOOLS
from test_selection import EQUAL, where

TURNS = 50
DIES, RECOVERS = 20, 28  # the turns in which the conversation's first endpoint fails


def usage(turn: int) -> dict:
    """All but the newest turn is read from the cache; there is none at first."""
    cached = {"cached_tokens": 100 * turn}
    return {"prompt_tokens": 100 * (turn + 1), "completion_tokens": 7, "prompt_tokens_details": cached}


def turn(weir, messages: list, number: int, dead: str | None, **fields) -> list[str]:
    """One turn: the model calls a tool, the agent answers it, the model speaks. Who was asked, in order."""
    asked = []
    for calls in (True, False):
        good = {"tools": calls, "usage": usage(number)}
        roles = {role: {"status": 500} if role == dead else good for role in "ab"}
        answer = weir.ask(roles, messages=messages, tools=TOOLS, session_id=None, **fields)
        if calls:
            assert answer.status == 200 and answer.chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
            call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            messages.append({"role": "tool", "tool_call_id": "call_1", "content": f"rain {number}"})
        else:
            expect.whole(answer)
            messages.append({"role": "assistant", "content": answer.text})
            messages.append({"role": "user", "content": f"and then? {number}"})
        asked += [request["role"] for request in answer.seen()]
    return asked


NAMES = {
    "session": {"headers": [("x-session-id", "agent 1")]},
    "cache_key": {"prompt_cache_key": "agent 1"},
    "opening": {},
}


@pytest.mark.parametrize("name", NAMES)
def test_fifty_turns_stay_and_move_once_when_their_endpoint_dies(run, name):
    weir = run("ab", a=EQUAL, b=EQUAL)
    system = {"role": "system", "content": "You are an agent." + " Be brief." * 50}
    messages = [system, {"role": "user", "content": f"{weir.canary} go"}]
    asked = turn(weir, messages, 0, None, **NAMES[name])
    asked += turn(weir, messages, 1, None, **NAMES[name])
    # What is not named sticks from its first cache hit, which was in the turn before.
    home = asked[-1]
    if name == "session":
        assert set(asked) == {home}
    other = "b" if home == "a" else "a"
    turns = [
        turn(weir, messages, number, home if DIES <= number < RECOVERS else None, **NAMES[name])
        for number in range(2, TURNS)
    ]
    served = [asked[-1] for asked in turns]
    moves = [(role, len(list(group))) for role, group in itertools.groupby(served)]
    assert moves == [(home, DIES - 2), (other, TURNS - DIES)], "one move, and no way back to the first"
    tried = [role for asked in turns for role in asked]
    failed = tried.count(home) - 2 * (DIES - 2)
    assert failed == 1, "who moved does not ask the dead one again"
    # Both are warm now, and healthy: other conversations use either, this one its own.
    assert {turn(weir, [{"role": "user", "content": f"{weir.canary} {n}"}], 0, None)[0] for n in range(20)} == {"a", "b"}
    assert set(turn(weir, messages, TURNS, None, **NAMES[name])) == {other}


def test_a_router_remembers_the_model_of_a_conversation(run):
    weir = run({"test/m": "a", "test/n": "b"}, a=EQUAL, b=EQUAL)
    with (weir.conf / "models.toml").open("a") as models:
        models.write('\n[[router]]\nslug = "test/any"\nmodels = ["test/m", "test/n"]\n')
    reload(weir)
    assert where(weir.ask({"a": {"status": 500}}, model="test/any", session_id="talk")) == "b"
    assert {where(weir.ask(model="test/any", session_id="talk")) for _ in range(3)} == {"b"}
    assert where(weir.ask(model="test/any", session_id="other")) == "a", "the first of its models"


def test_a_preset_with_an_order_and_an_empty_name_stick_to_nothing(run):
    weir = run("ab", a=EQUAL, b=EQUAL)
    with (weir.conf / "models.toml").open("a") as models:
        models.write('\n[[preset]]\nslug = "first"\nmodels = ["test/m"]\nprovider = { order = ["a"] }\n')
    reload(weir)
    assert where(weir.ask(model="@preset/first", session_id="talk")) == "a"
    assert {where(weir.ask(session_id="talk" if n == 0 else f"{n}")) for n in range(40)} == {"a", "b"}
    assert {where(weir.ask(session_id="", messages=[{"role": "user", "content": f"{weir.canary} {n}"}])) for n in range(40)} == {"a", "b"}

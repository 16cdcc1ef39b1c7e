"""Clients of OpenRouter and of OpenAI, unchanged but for base URL and key."""

import json
import secrets

import expect
import pytest
from clients import OPENAI, OPENROUTER, OTHERS, Client

PLACES = [(name, face) for name in OPENAI for face in ("/api/v1", "/v1")]
PLACES += [(name, "/api/v1") for name in OPENROUTER + OTHERS]
# LangChain shows no cost of what it streams; OpenAI's SDKs and LiteLLM show what is there.
HIDES_COST = {("python-langchain", True)}
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}}]


EVERY = pytest.mark.parametrize(
    ("name", "face"), PLACES, ids=[f"{name}{face.replace('/', '-')}" for name, face in PLACES]
)
MODES = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


def place(weir, face: str) -> dict:
    return {"base_url": f"http://127.0.0.1:{weir.port}{face}", "api_key": weir.deployment.key}


def chat(weir, client: Client, face: str, roles: dict | None = None, key: str | None = None, **fields):
    """A conversation that the chaos upstream plays by its first message; its id, and what was understood."""
    id = "s" + secrets.token_hex(10)
    script = json.dumps({"x_chaos": {"id": id} | (roles or {})})
    body = {"model": "test/m", "messages": [{"role": "user", "content": script}]} | fields
    where = place(weir, face) | ({"api_key": key} if key else {})
    return id, client.ask(do="chat", body=body, **where)


def roles(weir, id: str) -> list[str]:
    return [request["role"] for request in weir.chaos.truth.requests(id)]


@EVERY
@MODES
def test_a_conversation_with_a_provider_asked_for(shared, clients, name, face, stream):
    options = {"stream_options": {"include_usage": True}} if stream else {}
    id, seen = chat(shared, clients[name], face, stream=stream, **options,
                    provider={"order": ["b"], "allow_fallbacks": False})
    assert seen["error"] is None
    assert (seen["text"], seen["finish"], seen["calls"]) == (expect.WHOLE, "stop", [])
    usage = seen["usage"]
    assert (usage["prompt"], usage["completion"]) == (expect.INPUT, expect.OUTPUT)
    if face == "/api/v1" and (name, stream) not in HIDES_COST:
        assert usage["cost"] == pytest.approx(shared.deployment.cost("b", expect.INPUT, expect.OUTPUT) / 1e12)
    assert seen.get("provider", "B") == "B", "where a client tells who answered"
    assert roles(shared, id) == ["b"]


@EVERY
@MODES
def test_tools(shared, clients, name, face, stream):
    id, seen = chat(shared, clients[name], face, {"a": [{"tools": True}, {}]}, stream=stream, tools=TOOLS)
    assert seen["error"] is None
    assert seen["calls"] == [["weather", {"city": "Oslo"}]]
    assert (seen["text"], seen["finish"]) == (expect.WHOLE, "stop")
    _, last = shared.chaos.truth.requests(id, "a")
    results = [message for message in json.loads(last["body"])["messages"] if message["role"] == "tool"]
    assert [(message["tool_call_id"], message["content"]) for message in results] == [("call_1", "rain")]


@pytest.mark.parametrize("name", [name for name, face in PLACES if face == "/api/v1"])
def test_tools_of_an_upstream_that_does_not_stream_come_as_a_stream(shared, clients, name):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    whole = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    _, seen = chat(shared, clients[name], "/api/v1", {"a": [{"raw": json.dumps(whole)}, {}]}, stream=True, tools=TOOLS)
    assert seen["error"] is None
    assert seen["calls"] == [["weather", {"city": "Oslo"}]]
    assert (seen["text"], seen["finish"]) == (expect.WHOLE, "stop")


@EVERY
@MODES
def test_a_failover_is_not_seen(run, clients, name, face, stream):
    weir = run("ab")
    id, seen = chat(weir, clients[name], face, {"a": {"do": "reset"}}, stream=stream)
    assert (seen["error"], seen["text"]) == (None, expect.WHOLE)
    assert roles(weir, id) == ["a", "b"]


ALL_FAIL = {"a": {"status": 503}, "b": {"status": 500}}
ALL_LIMIT = {"a": {"status": 429}, "b": {"status": 429}}
REFUSALS = {
    "unknown model": (400, "acme/x is not a valid model ID", {"model": "acme/x"}, None),
    "bad key": (401, "User not found.", {}, "sk-or-v1-" + "0" * 64),
    "no provider": (404, "No allowed providers are available", {"provider": {"only": ["nobody"]}}, None),
    "no policy": (404, "No endpoints found matching your data policy", {"provider": {"zdr": True}}, None),
    "failed": (502, "Provider returned error", {"roles": ALL_FAIL}, None),
    "limited": (429, "Provider returned error", {"roles": ALL_LIMIT}, None),
}


@EVERY
@MODES
def test_errors_become_the_clients_own(run, clients, name, face, stream):
    weir = run("ab")
    for case, (status, message, fields, key) in REFUSALS.items():
        fields = {"stream": stream} | fields
        _, seen = chat(weir, clients[name], face, fields.pop("roles", None), key, **fields)
        error = seen["error"]
        assert error, (case, seen)
        assert "Validation" not in error["name"], (case, error)
        assert error["status"] == status and message in error["message"], (case, error)


@EVERY
def test_a_cut_stream_raises(run, clients, name, face):
    """A caller must not take half an answer for a whole one."""
    weir = run("a")
    _, seen = chat(weir, clients[name], face, {"a": {"cut": {"event": 2, "how": "reset"}}}, stream=True)
    assert seen["error"] is not None, seen


@pytest.mark.parametrize("name", OPENAI + OPENROUTER)
def test_models_are_listed(shared, clients, name):
    seen = clients[name].ask(do="models", **place(shared, "/api/v1"))
    assert seen["error"] is None
    first, second = sorted(seen["models"], key=lambda model: model["id"])
    assert (first["id"], second["id"]) == ("test/m", "test/n")
    assert first["pricing"]["prompt"] == "0.000001"


def test_litellm_lists_what_its_key_may_use(shared, clients):
    seen = clients["python-litellm"].ask(do="models", **place(shared, "/api/v1"))
    assert sorted(model["id"] for model in seen["models"]) == ["test/m", "test/n"]


@pytest.mark.parametrize("name", OPENROUTER)
def test_the_catalogue_is_read_by_every_route(shared, clients, name):
    seen = clients[name].ask(do="catalogue", **place(shared, "/api/v1"))
    assert seen["error"] is None
    read = {key: sorted(value) if isinstance(value, list) else value for key, value in seen["catalogue"].items()}
    assert read == {
        "count": 2, "user": ["test/m", "test/n"], "model": "test/m", "endpoints": ["a", "b"], "zdr": [],
        "providers": ["a", "b", "c"],
    }


@pytest.mark.parametrize("name", OPENROUTER)
def test_a_generation_is_read_back(shared, clients, name):
    answer = shared.ask(stream=False)
    seen = clients[name].ask(do="generation", id=answer.json()["id"], **place(shared, "/api/v1"))
    assert seen["error"] is None
    assert seen["generation"]["id"] == answer.json()["id"]

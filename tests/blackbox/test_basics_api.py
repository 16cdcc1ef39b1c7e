"""What a well-behaved request gets: both faces, every operation, models, generation, errors."""

import json
import re
import time

import conf
import expect
import pytest
from client import head
from script import TEXT, USAGE

GENERATION = re.compile(r"gen-\d{10}-[A-Za-z0-9]{20}")


def get(weir, path: str, *headers):
    with weir.connect() as raw:
        return raw.ask("GET", path, list(headers))


def test_a_stream_on_api_v1_has_the_contracts_shape(shared):
    answer = shared.ask()
    expect.whole(answer)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "transfer-encoding" in answer.headers
    ids = {chunk["id"] for chunk in answer.chunks}
    assert len(ids) == 1 and GENERATION.fullmatch(ids.pop())
    for chunk in answer.chunks:
        assert chunk["object"] == "chat.completion.chunk" and chunk["provider"] == "A"
        assert chunk["model"] == "test/m" and type(chunk["created"]) is int
        (choice,) = chunk["choices"]
        assert choice["delta"]["role"] == "assistant" and isinstance(choice["delta"]["content"], str)
        assert "native_finish_reason" in choice and "finish_reason" in choice
    finishes = [c["choices"][0]["finish_reason"] for c in answer.chunks if c["choices"][0]["finish_reason"]]
    assert finishes == ["stop"], "clients concatenate them"
    assert "\r" not in answer.body.decode()
    usage(answer, answer.chunks[-1]["usage"])


def usage(answer, shown: dict) -> None:
    """The usage object in full, with the exact charge (contract 4.2)."""
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == (expect.INPUT, expect.OUTPUT)
    assert shown["total_tokens"] == expect.INPUT + expect.OUTPUT
    assert shown["is_byok"] is False
    assert shown["cost_details"]["upstream_inference_cost"] is None
    for details, keys in (("prompt_tokens_details", ["cached_tokens", "cache_write_tokens", "audio_tokens"]),
                          ("completion_tokens_details", ["reasoning_tokens"])):
        assert all(type(shown[details][key]) is int for key in keys), shown
    (row,) = answer.rows(1)
    cost = answer.weir.deployment.cost("a", expect.INPUT, expect.OUTPUT)
    expect.paid(row, cost)
    text = re.search(rb'"cost":\s*([0-9.]+)[,}]', answer.body)[1].decode()
    whole, _, part = text.partition(".")
    assert int(whole + part.ljust(12, "0")) == cost, "exact, and a plain decimal"


def test_a_body_on_api_v1_has_the_contracts_shape(shared):
    answer = shared.ask(stream=False)
    expect.whole(answer)
    document = answer.json()
    assert GENERATION.fullmatch(document["id"]) and document["object"] == "chat.completion"
    assert document["provider"] == "A" and document["model"] == "test/m"
    (choice,) = document["choices"]
    assert choice["finish_reason"] == choice["native_finish_reason"] == "stop"
    assert answer.headers["x-generation-id"] == document["id"]
    usage(answer, document["usage"])


@pytest.mark.parametrize("stream", [True, False])
def test_v1_gives_the_upstreams_own_bytes(shared, stream):
    asked = {"stream_options": {"include_usage": True}} if stream else {}
    answer = shared.ask(path="/v1/chat/completions", stream=stream, **asked)
    expect.whole(answer)
    assert GENERATION.fullmatch(answer.headers["x-generation-id"])
    (plan,) = shared.chaos.truth.lines("plan", id=answer.id)
    assert len(answer.body) == plan["bytes"] and plan["upstream_id"] in answer.body.decode()
    assert answer.usage == USAGE


@pytest.mark.parametrize("face", ["/api/v1", "/v1"])
@pytest.mark.parametrize("stream", [True, False])
def test_completions(shared, face, stream):
    answer = shared.ask(path=f"{face}/completions", stream=stream, messages=None, prompt="say it")
    assert answer.status == 200
    documents = answer.chunks if stream else [answer.json()]
    texts = [choice["text"] for document in documents for choice in document["choices"]]
    assert "".join(texts) == "".join(TEXT)
    (row,) = answer.rows(1)
    expect.row(row, "a", "ok", "reported", operation="completion", streamed=int(stream))


@pytest.mark.parametrize("face", ["/api/v1", "/v1"])
def test_embeddings(shared, face):
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    answer = shared.ask({"*": {"usage": usage}}, path=f"{face}/embeddings", stream=False,
                        messages=None, input=["a", "b"])
    assert answer.status == 200 and answer.json()["data"][0]["embedding"] == [0.25, -0.5, 1.0]
    (row,) = answer.rows(1)
    expect.row(row, "a", "ok", "reported", operation="embedding", input=5, output=0)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_tool_calls_pass(shared, path):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    answer = shared.ask({"*": {"tools": True}}, path=path, tools=tools)
    parts = [c["choices"][0]["delta"].get("tool_calls") for c in answer.chunks if c["choices"]]
    arguments = "".join(part[0]["function"]["arguments"] for part in parts if part)
    assert arguments == '{"city":"Oslo"}' and answer.done
    finishes = [c["choices"][0]["finish_reason"] for c in answer.chunks if c["choices"]]
    assert "tool_calls" in finishes


def test_models_on_both_faces(shared):
    for face in ("/api/v1", "/v1"):
        reply = get(shared, f"{face}/models", shared.bearer)
        assert reply.status == 200
        entries = {entry["id"]: entry for entry in reply.json()["data"]}
        assert set(entries) == {"test/m", "test/n"}
        entry = entries["test/m"]
        assert entry["name"] and entry["context_length"] == conf.CONTEXT
        assert entry["pricing"]["prompt"] == "0.000001" and entry["pricing"]["completion"] == "0.000002"
    assert reply.json()["object"] == "list" and entry["object"] == "model" and entry["owned_by"]
    public = get(shared, "/api/v1/models")
    assert public.status == 200, "the contract's listing needs no key"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_generation_is_readable_the_moment_the_answer_ends(shared, path, stream):
    for _ in range(20):
        answer = shared.ask(path=path, stream=stream)
        id = answer.headers["x-generation-id"]
        reply = get(shared, f"/api/v1/generation?id={id}", shared.bearer)
        assert reply.status == 200, reply.body
        data = reply.json()["data"]
        assert data["id"] == id and data["model"] == "test/m" and data["provider_name"] == "A"
        assert (data["native_tokens_prompt"], data["native_tokens_completion"]) == (11, 7)
        assert data["streamed"] is stream and data["finish_reason"] == "stop"


def test_a_generation_tells_what_its_cache_has_saved(run):
    weir = run("a", a={"endpoint": {"price": {"input": "1", "cache_read": "0.25", "output": "2"}}})
    usage = {"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57}
    for cached, saved in ((0, None), (40, 40 * 0.75e-6)):
        used = {"usage": usage | {"prompt_tokens_details": {"cached_tokens": cached}}}
        answer = weir.ask({"a": used}, stream=False)
        expect.whole(answer)
        data = get(weir, f"/api/v1/generation?id={answer.headers['x-generation-id']}", weir.bearer).json()["data"]
        assert data["cache_discount"] == pytest.approx(saved) and data["native_tokens_cached"] == cached


def test_a_generation_of_nobody_is_404(shared):
    expect.refused(get(shared, "/api/v1/generation?id=gen-0-x", shared.bearer), 404)


# Refusals


def ask_with(weir, *headers, body=b"{}", path="/v1/chat/completions"):
    with weir.connect() as raw:
        return raw.ask("POST", path, list(headers), body)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_no_key_and_bad_key(shared, path):
    expect.refused(ask_with(shared, path=path), 401, "No cookie auth credentials found")
    for key in ("sk-or-v1-" + "0" * 64, shared.deployment.key[:-1], shared.deployment.key + "0", "x"):
        expect.refused(ask_with(shared, ("authorization", f"Bearer {key}"), path=path), 401, "User not found.")


def test_x_api_key_counts_as_bearer(shared):
    _, body = shared.body()
    reply = ask_with(shared, ("x-api-key", shared.deployment.key), body=body)
    assert reply.status == 200


def test_S11_a_bad_key_is_refused_before_the_body(shared):
    with shared.connect() as raw:
        raw.send(head("POST", "/api/v1/chat/completions", [
            ("host", "w"), ("authorization", "Bearer sk-or-v1-nope"), ("content-length", str(60 << 20))]))
        reply = raw.read()
    expect.refused(reply, 401, "User not found.")
    assert reply.head_at < 5, "it waits for the body"


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("model", ["acme/x", "test/m2", "up-a", "../etc", "a" * 128])
def test_F56_an_unknown_model_is_refused_in_the_contracts_words(shared, path, model):
    answer = shared.ask(path=path, model=model)
    expect.refused(answer, 400, f"{model} is not a valid model ID")
    assert answer.seen() == []


def test_nothing_to_do(shared):
    answer = shared.ask(messages=None)
    expect.refused(answer, 400, 'Input required: specify "prompt" or "messages"')


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_a_chat_has_a_prompt_or_messages(shared, path):
    answer = shared.ask(path=path, messages=None, prompt="say \u2603")
    expect.whole(answer)
    (seen,) = answer.seen("a")
    sent = json.loads(seen["body"].encode("latin-1"))
    own, other = ({"messages": [{"role": "user", "content": "say \u2603"}]}, {"prompt": "say \u2603"})
    kept, gone = (own, "prompt") if path.startswith("/api") else (other, "messages")
    assert sent.items() >= kept.items() and gone not in sent
    both = shared.ask(path=path, prompt="x")
    expect.refused(both, 400, 'Input required: specify "prompt" or "messages"')
    expect.refused(shared.ask(path=path, messages=None, prompt=["x"]), 400, "`prompt` must be a string")


def test_paths_and_methods(shared):
    expect.refused(get(shared, "/v2/nothing", shared.bearer), 404)
    reply = get(shared, "/v1/chat/completions", shared.bearer)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    reply = ask_with(shared, shared.bearer, path="/api/v1/models")
    assert (reply.status, reply.headers["allow"]) == (405, "GET")


def test_only_and_ignore_and_order(run):
    weir = run("abc")
    for provider, role in (({"only": ["b"]}, "b"), ({"ignore": ["a"]}, "b"), ({"order": ["c"]}, "c")):
        answer = weir.ask(provider=provider)
        expect.whole(answer)
        assert [request["role"] for request in answer.seen()] == [role]
    answer = weir.ask({"a": {"status": 500}}, provider={"allow_fallbacks": False})
    assert answer.status >= 500 and len(answer.seen()) == 1
    answer = weir.ask(provider={"only": ["nobody"]})
    error = expect.refused(answer, 404)
    assert error["message"].startswith("No allowed providers are available for the selected model.")


def test_a_provider_is_also_meant_by_the_name_it_is_shown_under(run):
    """Also where the operator's own list has the slugs."""
    policy = {"policy": {"only": ["a", "b", "c"]}}
    weir = run("abc", policy, **{slug: {"extra": {"name": f"Provider {slug * 2}"}} for slug in "abc"})
    for provider, role in (({"only": ["Provider bb"]}, "b"), ({"ignore": ["Provider aa"]}, "b"),
                           ({"order": ["Provider cc"]}, "c")):
        answer = weir.ask(provider=provider)
        expect.whole(answer)
        assert [request["role"] for request in answer.seen()] == [role]
        assert answer.chunks[0]["provider"] == f"Provider {role * 2}"


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_the_session_is_the_bodys_or_else_the_headers(run, path):
    weir = run("a")
    header = ("x-session-id", "from-the-header")
    for said in (None, "from-the-body"):
        expect.whole(weir.ask(path=path, headers=[header], session_id=said))
    for session in ("from-the-header", "from-the-body"):
        expect.row(weir.rows(session, 1)[0], "a", "ok", "reported")


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_a_keepalive_connection_serves_many(shared, path):
    with shared.connect() as raw:
        for n in range(10):
            id, body = shared.body({"*": {"text": [f"answer {n}"]}}, stream=n % 2 == 0)
            reply = raw.ask("POST", path, [shared.bearer], body)
            expect.whole(reply, f"answer {n}")


def test_upgrades_are_refused(shared):
    """P10."""
    headers = [shared.bearer, ("connection", "upgrade"), ("upgrade", "websocket"),
               ("sec-websocket-key", "x" * 16), ("sec-websocket-version", "13")]
    _, body = shared.body()
    reply = ask_with(shared, *headers, body=body)
    assert reply.status == 400


def test_a_pipelined_second_request_is_not_served(shared):
    """P22: bytes behind the first request never become a request."""
    id, body = shared.body()
    other, second = shared.body()
    with shared.connect() as raw:
        framed = [shared.bearer, ("content-length", str(len(body)))]
        first = head("POST", "/v1/chat/completions", [("host", "w"), *framed]) + body
        smuggled = head("POST", "/v1/chat/completions", [("host", "w"), *framed]) + second
        raw.send(first + smuggled)
        raw.read()
    time.sleep(0.2)
    assert shared.chaos.truth.requests(other) == []


def test_health_and_readiness(shared):
    assert shared.get_admin("/healthz") is not None
    assert shared.get_admin("/readyz") is not None
    names = {name for name, _, _ in shared.metrics()}
    assert "weir_build_info" in names and "weir_attempts_total" in names


def test_callers_strings_become_no_labels(shared):
    before = len(shared.metrics())
    for n in range(50):
        shared.ask(model=f"made/up{n}", user=f"user{n}", session_id=f"session{n}")
    after = len(shared.metrics())
    assert after - before < 20
    assert json.dumps([labels for _, labels, _ in shared.metrics()]).find("made/up") < 0

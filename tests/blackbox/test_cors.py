"""What a page of another origin may do (contract 1.1): ask first, call with a key, read what it needs."""

from __future__ import annotations

import expect
import pytest
from client import Raw, Reply, head
from h2client import H2Caller

ORIGIN = ("origin", "https://app.test")
# What the SDKs in browsers send, and what the contract lists.
SENT = ["authorization", "content-type", "http-referer", "x-title", "x-api-key", "x-session-id",
        "x-stainless-lang", "x-stainless-package-version", "x-stainless-os", "x-stainless-arch",
        "x-stainless-runtime", "x-stainless-runtime-version", "x-stainless-retry-count", "x-stainless-timeout",
        "x-openrouter-title", "idempotency-key", "traceparent", "tracestate", "b3"]
PATHS = {"/api/v1/chat/completions": "POST", "/api/v1/models": "GET", "/api/v1/generation": "GET",
         "/v1/chat/completions": "POST", "/v1/embeddings": "POST", "/v1/models": "GET"}


def listed(reply: Reply, name: str) -> set[str]:
    return {part.strip().lower() for part in reply.headers.get(name, "").split(",")}


def readable(reply: Reply) -> None:
    """The page may read the answer, and these of its fields."""
    assert reply.headers.get("access-control-allow-origin") == "*", (reply.status, reply.headers)
    assert listed(reply, "access-control-expose-headers") >= {"x-generation-id", "retry-after"}
    assert "access-control-allow-credentials" not in reply.headers


@pytest.mark.parametrize("path", PATHS)
def test_a_preflight_needs_no_key_and_allows_what_clients_send(shared, path):
    wanted = [("access-control-request-method", PATHS[path]), ("access-control-request-headers", ",".join(SENT))]
    with shared.connect() as raw:
        for _ in range(2):
            reply = raw.ask("OPTIONS", path, [ORIGIN, *wanted])
            assert (reply.status, reply.body, reply.ended) == (204, b"", "clean")
            assert reply.headers["access-control-allow-origin"] == "*"
            assert listed(reply, "access-control-allow-headers") >= set(SENT)
            methods = {"get", "options", "patch", "delete", "post", "put"}
            assert listed(reply, "access-control-allow-methods") == methods
            assert int(reply.headers["access-control-max-age"]) > 0
        reply = raw.ask("GET", "/v1/models", [ORIGIN])
        assert reply.status == 200, "the connection serves on after a preflight"


def test_a_preflight_is_counted_and_reaches_no_upstream(run):
    weir = run("a")
    with weir.connect() as raw:
        assert raw.ask("OPTIONS", "/api/v1/chat/completions", [ORIGIN]).status == 204
        assert raw.ask("OPTIONS", "/api/v1/nowhere", [ORIGIN]).status == 404
    weir.settles(1, "requests_total", face="openrouter", operation="preflight", outcome="ok")
    weir.settles(0, "attempts_total")


def test_a_preflight_over_h2(run):
    weir = run("a", {"listener": {"h2c": True}})
    with H2Caller(weir.port) as caller:
        stream = caller.conn.get_next_available_stream_id()
        fields = {":method": "OPTIONS", ":path": "/v1/chat/completions", ":scheme": "http", ":authority": "w"}
        caller.conn.send_headers(stream, [*fields.items(), ORIGIN], end_stream=True)
        caller.body[stream] = b""
        caller.flush()
        while stream not in caller.ended:
            caller.read()
        assert caller.status[stream] == 204


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("stream", [True, False])
def test_every_end_of_a_request_is_readable(run, path, stream):
    """Whole, refused by Weir, by the provider, by nobody left, and cut."""
    weir = run("ab")

    def ask(status: int, roles: dict | None = None, **fields: object) -> Reply:
        answer = weir.ask(roles, path=path, stream=stream, headers=[ORIGIN], **fields)
        assert answer.status == status, answer.body
        readable(answer.reply)
        return answer.reply

    assert "x-generation-id" in ask(200).headers
    assert "x-generation-id" in ask(400, {"*": {"status": 400}}).headers
    ask(400, model="no/model")
    ask(400, messages=None)
    if stream:
        ask(200, {"a": {"cut": {"event": 2}}})
    refused = ask(429, {"*": {"status": 429, "headers": [["retry-after", "7"]]}})
    assert int(refused.headers["retry-after"]) > 0 and "x-generation-id" in refused.headers


def test_a_stream_that_begins_with_a_comment_is_readable(run):
    weir = run("a", {"keepalive_comment": "200ms"}, a={"first_content": "5s"})
    answer = weir.ask({"a": {"head_delay": 0.6}}, headers=[ORIGIN])
    expect.whole(answer)
    assert answer.body.startswith(b": ")
    readable(answer.reply)


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/api/v1/models", 200), ("GET", "/api/v1/generation?id=gen-1", 401),
    ("POST", "/v1/chat/completions", 401), ("GET", "/v1/chat/completions", 405), ("GET", "/nowhere", 404),
])
def test_answers_without_a_key_are_readable(shared, method, path, status):
    with shared.connect() as raw:
        reply = raw.ask(method, path, [ORIGIN])
    assert reply.status == status
    readable(reply)


def test_nothing_is_said_where_no_page_asks(shared):
    answer = shared.ask()
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_operators_listener_shares_nothing(shared):
    """A page that an operator visits must not read the metrics of the host it runs on."""
    with Raw(shared.admin) as raw:
        raw.send(head("GET", "/metrics", [("host", "w"), ORIGIN]))
        reply = raw.read()
        assert reply.status == 200
        assert not [name for name in reply.headers if name.startswith("access-control")]
        raw.send(head("OPTIONS", "/metrics", [("host", "w"), ORIGIN]))
        assert raw.read().status == 405

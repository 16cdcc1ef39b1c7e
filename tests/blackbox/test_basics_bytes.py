"""Bodies of any size and framing arrive as they were sent, but for what Weir must change."""

import hashlib
import json
import random

import expect
import httpx
import pytest
from client import head

KIB = 1 << 10
SIZES = [2, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB, 256 * KIB + 1, 1 << 20, 8 << 20]
HUGE = 32 << 20
FRAMINGS = {"length": 0, "chunks of 1000": 1000, "chunks of 100000": 100_000}


def document(weir, size: int, roles: dict | None = None, stream: bool = False) -> tuple[str, bytes, bytes]:
    """A body of exactly `size` bytes, or as near as it gets, of which only the model must change.

    Returns id, what is sent, what must arrive.
    """
    id, _ = weir.body()
    options = ' "stream_options": {"include_usage" : true},' if stream else ""
    chaos = json.dumps({"id": id} | (roles or {}))
    parts = [
        '{ "messages" :\t[{"role":"user","content":"', '"}],\n  "temperature": 1.0e0, "unknown":[1, 2 ,{}],'
        ' "model" : ', f' , "stream":{json.dumps(stream)},{options}"x_chaos":{chaos}}}\n',
    ]
    room = size - len(("".join(parts) + '"test/m"').encode())
    dice = random.Random(size)
    filler = "".join(dice.choices(["a", "b", " ", "ö", "☃", "\\n", "\\u00e9", '\\"'], k=500))
    content = filler * (max(room, 0) // len(filler.encode()))
    content += "." * max(room - len(content.encode()), 0)

    def fill(model: str) -> bytes:
        return (parts[0] + content + parts[1] + json.dumps(model) + parts[2]).encode()

    assert room < 0 or len(fill("test/m")) == size
    return id, fill("test/m"), fill("up-b" if roles else "up-a")


def arrived(weir, id: str, role: str, expected: bytes) -> dict:
    """The upstream got exactly these bytes under exactly one Content-Length."""
    (request,) = weir.chaos.truth.wait("request", id=id, role=role)
    assert request["length"] == len(expected)
    assert request["sha256"] == hashlib.sha256(expected).hexdigest()
    assert request["framing"] == [["content-length", str(len(expected))]]
    return request


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_h1_bodies_of_every_size_arrive_exactly(run, path, stream, framing):
    weir = run("a")
    for size in SIZES:
        id, sent, expected = document(weir, size, stream=stream)
        with weir.connect() as raw:
            reply = raw.ask("POST", path, [weir.bearer], sent, FRAMINGS[framing])
        expect.whole(reply)
        arrived(weir, id, "a", expected)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", [64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 1 << 20, HUGE])
def test_h1_bodies_are_replayed_on_failover(run, size, framing):
    weir = run("ab", a={"first_content": "5s"}, b={"first_content": "5s"})
    id, sent, expected = document(weir, size, {"a": {"status": 503}})
    with weir.connect(30) as raw:
        reply = raw.ask("POST", "/v1/chat/completions", [weir.bearer], sent, FRAMINGS[framing])
    expect.whole(reply)
    arrived(weir, id, "b", expected)
    first, second = weir.ledger.wait(2)
    expect.row(first, "a", "server_error")
    expect.row(second, "b", "ok", "reported")


@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
@pytest.mark.parametrize("size", [2, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 1 << 20, HUGE])
@pytest.mark.parametrize("failing", [False, True], ids=["first try", "failover"])
def test_h2_bodies_arrive_exactly(run, size, length, failing):
    weir = run("ab", settings={"listener": {"h2c": True}}, a={"first_content": "5s"}, b={"first_content": "5s"})
    roles = {"a": {"do": "reset"}} if failing else None
    id, sent, expected = document(weir, size, roles)
    pieces = (sent[at : at + 100_000] for at in range(0, len(sent), 100_000))
    with httpx.Client(http1=False, http2=True, timeout=30) as client:
        reply = client.post(
            f"http://127.0.0.1:{weir.port}/v1/chat/completions",
            content=sent if length else pieces,
            headers=dict([weir.bearer]),
        )
    assert reply.http_version == "HTTP/2" and reply.status_code == 200, reply.text[:300]
    assert reply.json()["choices"][0]["message"]["content"] == expect.WHOLE
    arrived(weir, id, "b" if failing else "a", expected)


def test_h2_streams_and_errors(run):
    weir = run("ab", settings={"listener": {"h2c": True}})
    base = f"http://127.0.0.1:{weir.port}"
    with httpx.Client(http1=False, http2=True, timeout=10) as client:
        for path in expect.BOTH_FACES:
            _, body = weir.body({"a": {"do": "reset"}}, stream=True)
            reply = client.post(base + path, content=body, headers=dict([weir.bearer]))
            assert reply.status_code == 200 and reply.text.endswith("data: [DONE]\n\n")
        reply = client.post(base + "/v1/chat/completions", content=b"{}")
        assert reply.status_code == 401
        assert reply.json()["error"]["message"] == "No cookie auth credentials found"


def test_usage_is_spliced_in_and_nothing_else(run):
    weir = run("a")
    id, sent = weir.body(stream=True, session_id=None)
    with weir.connect() as raw:
        expect.whole(raw.ask("POST", "/v1/chat/completions", [weir.bearer], sent))
    (request,) = weir.chaos.truth.requests(id, "a")
    got, want = json.loads(request["body"].encode("latin-1")), json.loads(sent)
    assert got == want | {"model": "up-a", "stream_options": {"include_usage": True}}


CONSUMED = {
    "models": ["test/m"], "provider": {"order": ["a"]}, "route": "fallback", "plugins": [],
    "preset": "p", "session_id": "s", "transforms": [], "usage": {"include": True},
    "include_reasoning": True, "debug": {}, "trace": {"trace_id": "t"},
}
# Some providers have these words too: `/v1` sends them on.
SHARED = {
    "cache_control": {"type": "ephemeral"}, "max_tool_calls": 3, "stop_server_tools_when": [], "deferred_tools": [],
    "prompt_cache_options": {"mode": "auto"}, "stream_options": {"include_usage": True},
}
FORBIDDEN = ["api_base", "base_url", "api_key", "extra_headers"]
KEPT = {
    "temperature": 0.5, "tools": [], "metadata": {"a": "b"}, "made_up": {"deep": [1, 2.50, None]},
    "response_format": {"type": "text"}, "seed": 12345678901234567890, "top_k": 1,
}


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_what_is_weirs_own_is_consumed_and_the_rest_passes(run, path):
    weir = run("a")
    answer = weir.ask(path=path, stream=False, **CONSUMED | KEPT | SHARED)
    expect.whole(answer)
    body = json.loads(answer.seen("a")[0]["body"].encode("latin-1"))
    assert not set(body) & set(CONSUMED)
    assert set(body) & set(SHARED) == (set() if path.startswith("/api") else set(SHARED))
    for key, value in KEPT.items():
        assert body[key] == value
    assert '2.50' in answer.seen("a")[0]["body"].replace("2.5,", "2.50,"), "numbers keep their text"


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_S14_no_body_chooses_a_url_host_or_key(run, path, chaos):
    weir = run("a")
    evil = {field: f"http://127.0.0.1:{chaos.port}/s/stolen/v1" for field in FORBIDDEN}
    answer = weir.ask(path=path, stream=False, **evil)
    expect.whole(answer)
    body = json.loads(answer.seen("a")[0]["body"].encode("latin-1"))
    assert not set(body) & set(FORBIDDEN)
    assert answer.seen("stolen") == []
    assert weir.metric("forbidden_fields_total") >= 1


def test_user_is_hashed_on_api_v1_and_untouched_on_v1(run):
    weir = run("a")
    users = {}
    for path in expect.BOTH_FACES:
        answer = weir.ask(path=path, user="person@example.test")
        users[path] = json.loads(answer.seen("a")[0]["body"].encode("latin-1"))["user"]
    assert users["/v1/chat/completions"] == "person@example.test"
    assert "person" not in users["/api/v1/chat/completions"]


HOP = [
    ("connection", "keep-alive, x-secret"), ("keep-alive", "timeout=5"), ("te", "trailers"),
    ("proxy-authorization", "Basic x"), ("cookie", "a=b"), ("x-forwarded-for", "1.2.3.4"),
    ("x-secret", "1"), ("forwarded", "for=1"), ("x-api-key", "k"), ("http-referer", "app"),
    ("x-title", "t"), ("openai-organization", "org"), ("traceparent", "00-1-1-01"),
]


def test_S6_the_upstream_head_is_built_from_nothing(run):
    weir = run("a")
    answer = weir.ask(headers=[pair for pair in HOP if pair[0] != "x-api-key"])
    expect.whole(answer)
    headers = answer.seen("a")[0]["headers"]
    names = [name for name, _ in headers]
    assert len(names) == len(set(names))
    allowed = {"host", "content-type", "content-length", "authorization", "accept", "accept-encoding", "user-agent",
               "traceparent"}
    assert set(names) <= allowed, set(names) - allowed
    values = dict(headers)
    assert values["accept-encoding"] == "identity"
    assert values["authorization"] == f"Bearer {weir.deployment.providers[0].secret}"
    assert values["host"] == f"127.0.0.1:{weir.chaos.port}"


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("stream", [True, False])
def test_the_reply_head_is_an_allow_list(run, path, stream):
    weir = run("a")
    unwanted = [["set-cookie", "a=b"], ["server", "chaos"], ["alt-svc", "h3"], ["openai-organization", "org-9"],
                ["x-request-id", "r"], ["via", "x"], ["connection", "keep-alive"], ["x-ratelimit-limit-requests", "9"]]
    answer = weir.ask({"a": {"headers": unwanted}}, path=path, stream=stream)
    expect.whole(answer)
    assert not set(answer.headers) & {"set-cookie", "server", "alt-svc", "openai-organization", "via"}
    assert "x-generation-id" in answer.headers


def test_provider_secrets_never_come_down(run):
    weir = run("a")
    for status in (400, 401, 403, 500):
        for path in expect.BOTH_FACES:
            answer = weir.ask({"a": {"status": status, "echo_key": status != 400}}, path=path)
            weir.no_secret(answer.body.decode().replace(weir.canary, ""))
            weir.no_secret(json.dumps(answer.headers))


def test_smuggling_framings_are_refused(run):
    """P8, F50: both lengths, two lengths, signed lengths."""
    weir = run("a")
    id, body = weir.body()
    size = str(len(body))
    odd = [
        [("content-length", size), ("transfer-encoding", "chunked")],
        [("content-length", size), ("content-length", "5")],
        [("content-length", f"+{size}")],
        [("content-length", f"{size},{size}0")],
        [("transfer-encoding", "xchunked")],
    ]
    for framing in odd:
        with weir.connect(3) as raw:
            raw.send(head("POST", "/v1/chat/completions", [("host", "w"), weir.bearer, *framing]) + body)
            reply = raw.read()
        assert reply.status in (0, 400, 501), (framing, reply.status)
    assert weir.chaos.truth.requests(id) == []

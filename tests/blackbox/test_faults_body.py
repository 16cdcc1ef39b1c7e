"""Bodies that two parsers could read differently, or none can (F53 to F55, S12)."""

import json

import expect
import pytest

CANARY = "canary-inside-body"

# kind of weir_bad_json_total, body; %s stands for a valid rest
MALFORMED = {
    "empty": ("syntax", b""),
    "blank": ("syntax", b"  \n"),
    "cut": ("syntax", b'{"model":"test/m","messages":["' + CANARY.encode()),
    "array": ("type", b'["test/m"]'),
    "number": ("type", b"7"),
    "single quotes": ("syntax", b"{'model':'test/m'}"),
    "bare word": ("syntax", b'{"model":"test/m","x":NaN}'),
    "comment": ("syntax", b'{"model":"test/m"/* x */}'),
    "trailing comma": ("syntax", b'{"model":"test/m",}'),
    "leading zero": ("syntax", b'{"model":"test/m","x":01}'),
    "raw control": ("syntax", b'{"model":"test/m","x":"a\x01b"}'),
    "raw newline": ("syntax", b'{"model":"test/m","x":"a\nb"}'),
    "bad escape": ("syntax", b'{"model":"test/m","x":"\\q"}'),
    "mark": ("encoding", b'\xef\xbb\xbf{"model":"test/m"}'),
    "latin-1": ("encoding", b'{"model":"test/m","x":"caf\xe9"}'),
    "overlong": ("encoding", b'{"model":"test/m","x":"\xc0\xaf"}'),
    "utf-16": ("encoding", '{"model":"test/m"}'.encode("utf-16")),
    "trailing text": ("trailing", b'{"model":"test/m"} ' + CANARY.encode()),
    "two documents": ("trailing", b'{"model":"test/m"}{"model":"test/n"}'),
}

CONTROLLED = [
    "model", "models", "stream", "stream_options", "provider", "max_tokens", "max_completion_tokens",
    "n", "best_of", "route", "session_id", "prompt_cache_key", "service_tier", "speed", "user",
    "preset", "plugins",
]


def post(weir, body: bytes, path: str = "/v1/chat/completions"):
    with weir.connect() as raw:
        return raw.ask("POST", path, [weir.bearer], body)


def refused(weir, body: bytes, path: str = "/v1/chat/completions") -> dict:
    """400 and nothing went upstream."""
    reply = post(weir, body, path)
    error = expect.refused(reply, 400)
    assert error["metadata"]["error_type"] == "invalid_request"
    assert CANARY not in reply.body.decode(), "an offset, not the content"
    return error


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_F53_what_is_not_one_json_object_is_refused(run, path):
    weir = run("a")
    counts: dict[str, int] = {}
    for name, (kind, body) in MALFORMED.items():
        error = refused(weir, body, path)
        counts[kind] = counts.get(kind, 0) + 1
        got = weir.metric("bad_json_total")
        assert got == sum(counts.values()), (name, error)
    quiet(weir)


def quiet(weir) -> None:
    weir.settles(0, "attempts_total")
    assert weir.chaos.truth.lines("request", role="a", target=None) == []
    assert weir.ledger.rows() == []


@pytest.mark.parametrize("name", ["cut", "trailing text", "mark"])
def test_F53_the_metric_names_the_kind(run, name):
    weir = run("a")
    kind, body = MALFORMED[name]
    refused(weir, body)
    weir.settles(1, "bad_json_total", kind=kind)


def escaped(key: str) -> str:
    return f"{key[:-1]}\\u{ord(key[-1]):04x}"


def members(*pairs: str) -> bytes:
    return ("{" + ",".join(['"messages":[]', *pairs]) + "}").encode()


def twice(key: str, other: str) -> bytes:
    model = [] if key == "model" else ['"model":"test/m"']
    return members(*model, f'"{key}":null', f'"{other}":null')


def test_F54_a_steering_key_said_twice_is_refused(run):
    weir = run("a")
    for key in CONTROLLED:
        refused(weir, twice(key, key))
        refused(weir, twice(key, escaped(key)))
    weir.settles(2 * len(CONTROLLED), "bad_json_total", kind="duplicate")
    quiet(weir)


def test_F54_a_case_twin_of_a_steering_key_is_refused(run):
    weir = run("a")
    for key in CONTROLLED:
        refused(weir, twice(key, key.capitalize() if key != key.capitalize() else key.upper()))
        refused(weir, twice(key.upper(), key))
    weir.settles(2 * len(CONTROLLED), "bad_json_total", kind="case")
    quiet(weir)


def test_F54_a_lone_case_twin_steers_nothing(run):
    """`Model` alone is no `model`; a Go upstream would read it as one, so it must not pass."""
    weir = run("a")
    reply = post(weir, members('"Model":"test/m"'))
    assert reply.status == 400
    reply = post(weir, members('"model":"test/m"', '"Stream":true'))
    assert reply.status == 400
    quiet(weir)


@pytest.mark.parametrize(
    "member",
    [
        '"stream_options":{"include_usage":true,"include_usage":false}',
        '"stream_options":{"include_usage":true,"Include_Usage":false}',
        '"stream_options":{"include_usage":true,"include_us\\u0061ge":false}',
        '"provider":{"order":["a"],"order":["b"]}',
        '"provider":{"only":["a"],"ONLY":["b"]}',
    ],
)
def test_F54_also_inside_provider_and_stream_options(run, member):
    weir = run("a")
    refused(weir, members('"model":"test/m"', '"stream":true', member))
    quiet(weir)


def test_other_keys_may_repeat(run):
    """What steers and bills nothing passes unread."""
    weir = run("a")
    body = members('"model":"test/m"', '"metadata":{"k":1,"k":2}', '"logit_bias":{}', '"logit_bias":{}')
    assert post(weir, body).status == 200


def test_F55_depth_is_bounded(run):
    weir = run("a")
    for depth, status in ((62, 200), (64, 400), (100_000, 400)):
        nested = '"x":' + "[" * depth + "]" * depth
        reply = post(weir, members('"model":"test/m"', nested))
        assert reply.status == status, depth
    weir.settles(2, "bad_json_total", kind="depth")


@pytest.mark.parametrize("exact", [64])
def test_F55_the_last_allowed_depth(run, exact):
    weir = run("a")
    for levels, status in ((exact, 200), (exact + 1, 400)):
        inner = levels - 1  # the document itself is the first level
        reply = post(weir, members('"model":"test/m"', '"x":' + "[" * inner + "]" * inner))
        assert reply.status == status, levels


def test_S13_every_reading_of_the_sent_body_names_the_billed_model(run):
    weir = run("a")
    answer = weir.ask({"a": {}}, path="/v1/chat/completions", metadata={"model": "decoy"})
    (request,) = answer.seen("a")
    firsts: list[str] = []

    def pairs(items):
        firsts.extend(value for key, value in items if key.lower() == "model" and value != "decoy")
        return dict(items)

    json.loads(request["body"], object_pairs_hook=pairs)
    assert firsts == ["up-a"]

"""Upstreams that speak HTTP/2 over TLS."""

import json

import expect
import pytest
from h2server import H2Upstream


@pytest.fixture
def upstream(chaos):
    certs = chaos.ca.parent
    with H2Upstream(certs / "good.pem", certs / "good.key") as server:
        yield server


def provider(chaos, upstream, http: str) -> dict:
    base = f"https://localhost:{upstream.port}/v1"
    return {"base_url": base, "extra": {"ca_file": str(chaos.ca), "http": http}}


@pytest.mark.parametrize("http", ["h2", "either"])
@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("stream", [True, False])
def test_h2_serves(run, chaos, upstream, http, path, stream):
    weir = run("ab", a=provider(chaos, upstream, http))
    answers = [weir.ask(path=path, stream=stream) for _ in range(3)]
    for answer in answers:
        expect.whole(answer)
        assert "set-cookie" not in answer.headers
        expect.row(answer.rows(1)[0], "a", "ok", "reported", input=expect.INPUT, output=expect.OUTPUT)
    assert upstream.connections == 1, "requests share a connection"
    head, body = upstream.requests[0]
    assert (head[":scheme"], head[":path"]) == ("https", "/v1/chat/completions")
    assert head[":authority"] == f"localhost:{upstream.port}"
    assert head["authorization"] == f"Bearer {weir.deployment.providers[0].secret}"
    assert head["content-length"] == str(len(body)) and json.loads(body)["model"] == "up-a"
    assert not set(head) & {"host", "connection", "transfer-encoding"}


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_h2_streams_may_end_in_trailers(run, chaos, upstream, path):
    upstream.trailers = True
    weir = run("ab", a=provider(chaos, upstream, "h2"))
    for _ in range(2):
        answer = weir.ask(path=path)
        expect.whole(answer)
        assert "x-checksum" not in answer.headers
        expect.row(answer.rows(1)[0], "a", "ok", "reported", input=expect.INPUT, output=expect.OUTPUT)


@pytest.mark.parametrize("status, outcome", [(0, "reset"), (503, "server_error"), (429, "rate_limited")])
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_h2_fails_over(run, chaos, upstream, status, outcome, size):
    upstream.status = status
    weir = run("ab", a=provider(chaos, upstream, "h2"))
    answer = weir.ask(padding="x" * size)
    expect.whole(answer)
    failed, good = answer.rows(2)
    expect.row(failed, "a", outcome, status=status)
    expect.free(failed)
    expect.row(good, "b", "ok", "reported")


@pytest.mark.parametrize("size", [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 1 << 20, 32 << 20])
def test_h2_bodies_arrive_whole(run, chaos, upstream, size):
    weir = run("a", a=provider(chaos, upstream, "h2") | {"first_content": "20s"})
    answer = weir.ask(path="/v1/chat/completions", padding="x" * size, timeout=40)
    expect.whole(answer)
    _, body = upstream.requests[0]
    assert json.loads(body)["padding"] == "x" * size


@pytest.mark.parametrize("certificate", ["expired", "wronghost", "unknown"])
def test_F05_a_bad_certificate_gets_no_byte_over_h2(run, chaos, certificate):
    certs = chaos.ca.parent
    with H2Upstream(certs / f"{certificate}.pem", certs / f"{certificate}.key") as upstream:
        weir = run("ab", a=provider(chaos, upstream, "h2"))
        expect.whole(weir.ask())
        assert upstream.requests == []
        weir.settles(1, "attempts_total", provider="a", outcome="tls")

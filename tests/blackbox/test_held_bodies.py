"""What all request bodies together may take (`limits.buffered_bytes`)."""

import expect
import pytest
from client import head
from weir import request

PATH = "/api/v1/chat/completions"
ALL = 200_000
LIMITS = {"limits": {"body_bytes": f"{ALL}B", "buffered_bytes": f"{ALL}B", "body_timeout": "3s"}}


def sized(weir, size: int, roles: dict | None = None) -> tuple[str, bytes]:
    """A good body of exactly this many bytes."""
    id, body = weir.body(roles)
    return id, body + b" " * (size - len(body))


def ask(weir, size: int, chunk: int = 0):
    with weir.connect() as raw:
        return raw.ask("POST", PATH, [weir.bearer], sized(weir, size)[1], chunk)


def shed(reply) -> None:
    expect.refused(reply, 503)
    assert reply.headers["retry-after"] == "1"


def test_the_last_byte_fits_and_one_more_is_refused(run):
    weir = run("a", settings=LIMITS, a={"first_content": "9s"})
    id, body = sized(weir, 120_000, {"a": {"head_delay": 2}})
    with weir.connect() as raw:
        raw.send(request(PATH, [weir.bearer], body))
        weir.chaos.truth.wait("request", id=id)
        expect.whole(ask(weir, 80_000))
        weir.settles(0, "body_shed_total")
        shed(ask(weir, 80_001))
        shed(ask(weir, 80_001, chunk=8_000))
        weir.settles(2, "body_shed_total")
        weir.settles(2, "requests_total", outcome="failed")
        expect.whole(raw.read())
    weir.settles(2, "requests_total", outcome="ok")
    expect.whole(ask(weir, ALL))
    weir.settles(3, "requests_total", outcome="ok")
    expect.whole(ask(weir, ALL, chunk=50_000))
    weir.settles(2, "body_shed_total")


@pytest.mark.parametrize("leave", ["close", "timeout"])
def test_a_body_that_never_comes_whole_holds_little_and_gives_it_back(run, leave):
    weir = run("a", settings=LIMITS)
    with weir.connect() as raw:
        length = ("content-length", str(ALL))
        raw.send(head("POST", PATH, [("host", "w"), weir.bearer, length]) + b"{")
        expect.whole(ask(weir, 130_000))
        if leave == "timeout":
            assert raw.read().status == 408
    weir.settles(1, "requests_total", outcome="ok")
    weir.settles(1, "requests_total", outcome="caller_fault")
    expect.whole(ask(weir, ALL))
    weir.settles(0, "body_shed_total")

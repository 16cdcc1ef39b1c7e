"""Cases of the soak in which it is the caller who does something odd; `cases.py` has the upstream's."""

from __future__ import annotations

import json
import socket
from random import Random

import expect
import test_faults_body as bodies
from cases import Case, anyhow, face, post
from client import Raw, Reply, head
from weir import Weir, request

BODY_LIMIT = 1 << 20
"""limits.body_bytes of the soak's Weir."""
SERVED = ("a", "ok", "reported")


def refusal(status: int):
    def sees(answer) -> None:
        expect.refused(answer, status)

    return sees


def half_closed(dice: Random) -> Case:
    def says(weir: Weir, raw: Raw, case: Case, body: bytes) -> Reply:
        raw.send(request(case.path, [weir.bearer], body))
        raw.read_until(b"word")
        raw.sock.shutdown(socket.SHUT_WR)
        return raw.read()

    def sees(answer) -> None:
        assert not answer.done and answer.ended != "timeout", answer.ended

    step = {"text": ["word "] * 200, "pace": 0.02}
    return Case(step, sees, [("a", "client_abort", "estimated")], says=says, **face(dice))


def too_large(dice: Random) -> Case:
    over = BODY_LIMIT + dice.randint(1, 1_000)
    declared = dice.choice([str(over), str(10 ** dice.randint(7, 18))])

    def only_says_so(weir: Weir, raw: Raw, case: Case, _body: bytes) -> Reply:
        raw.send(head("POST", case.path, [("host", "w"), weir.bearer, ("content-length", declared)]))
        return raw.read()

    def in_chunks(weir: Weir, raw: Raw, case: Case, body: bytes) -> Reply:
        body = body[:-1] + b" " * (over - len(body)) + b"}"
        return raw.ask("POST", case.path, [weir.bearer], body, 65_536)

    return Case(sees=refusal(413), rows=[], says=dice.choice([only_says_so, in_chunks]), **face(dice))


def pipelined(dice: Random) -> Case:
    step = {"first_delay": 0.2, "pace": dice.choice([0.0, 0.02])}

    def says(weir: Weir, raw: Raw, case: Case, body: bytes) -> Reply:
        other, second = weir.body(stream=False)
        raw.send(request(case.path, [weir.bearer], body))
        raw.send(request(case.path, [weir.bearer], second))
        reply = raw.read()
        assert raw.read_some() == b"", "more than one answer"
        assert weir.chaos.truth.requests(other) == [], "the second was served"
        return reply

    return Case(step, rows=[SERVED], says=says, **face(dice))


def expecting(dice: Random) -> Case:
    known = dice.random() < 0.7

    def says(weir: Weir, raw: Raw, case: Case, body: bytes) -> Reply:
        key = weir.bearer if known else ("authorization", "Bearer sk-or-v1-nope")
        raw.send(head("POST", case.path, [("host", "w"), ("expect", "100-continue"), key, ("content-length", str(len(body)))]))
        if known:
            raw.read_until(b"HTTP/1.1 100")
            raw.send(body)
        reply = raw.read()
        assert reply.interim == [100] * known
        return reply

    return Case({}, expect.whole if known else refusal(401), [SERVED] * known, says=says, **face(dice))


def compressed(dice: Random) -> Case:
    coding = ("content-encoding", dice.choice(["gzip", "br", "deflate", "zstd", "identity, gzip"]))

    def says(weir: Weir, raw: Raw, case: Case, _body: bytes) -> Reply:
        reply = raw.ask("POST", case.path, [weir.bearer, coding], b"\x1f\x8b" * dice.randint(1, 5_000))
        assert raw.read_some() == b"", "it stays open"
        return reply

    def sees(answer) -> None:
        assert answer.status == answer.json()["error"]["code"] == 415

    return Case(sees=sees, rows=[], says=says, **face(dice))


def other_methods(dice: Random) -> Case:
    line, status = dice.choice([
        ("TRACE /v1/models HTTP/1.1", 405), ("CONNECT w:1 HTTP/1.1", 405), ("GET /canary-x\x01 HTTP/1.1", 400),
        ("GET /canary-x HTTP/1.7", 505),
    ])

    def says(_weir: Weir, raw: Raw, _case: Case, _body: bytes) -> Reply:
        raw.send(line.encode() + b"\r\nHost: w\r\n\r\n")
        return raw.read()

    def sees(answer) -> None:
        assert answer.status == status and b"canary" not in answer.body

    return Case(sees=sees, rows=[], says=says)


def same_key(dice: Random) -> Case:
    key = ("idempotency-key", "the-same-key")

    def says(weir: Weir, raw: Raw, case: Case, body: bytes) -> Reply:
        expect.whole(raw.ask("POST", case.path, [weir.bearer, key], body))
        return raw.ask("POST", case.path, [weir.bearer, key], body)

    return Case({}, rows=[SERVED] * 2, says=says, **face(dice))


def leaving(dice: Random) -> Case:
    step = {"text": ["word "] * 60, "pace": 0.02}
    return Case(step, rows=[("a", "client_abort", "estimated")], leave=b"word", **face(dice))


def leaving_early(dice: Random) -> Case:
    return Case({"head_delay": 5}, rows=[("a", "client_abort", "none")], leave=b"", **anyhow(dice))


def refuses(body: bytes, **how) -> Case:
    """In place of a scripted body."""
    def says(weir: Weir, raw: Raw, case: Case, _body: bytes) -> Reply:
        return post(weir, raw, case, body)

    return Case(sees=refusal(400), rows=[], says=says, **how)


def twice(dice: Random) -> Case:
    key = dice.choice(bodies.CONTROLLED)
    other = dice.choice([key, bodies.escaped(key), key.capitalize(), key.upper()])
    return refuses(bodies.twice(key, other), **face(dice))


def deep(dice: Random) -> Case:
    levels = dice.randint(64, 5_000)
    return refuses(bodies.members('"model":"test/m"', '"x":' + "[" * levels + "]" * levels), **face(dice))


def unknown(dice: Random) -> Case:
    model = "".join(dice.choices("abcdef/-.", k=dice.randint(1, 60))) + "?"
    return refuses(json.dumps({"model": model, "messages": []}).encode(), **face(dice))


CASES = {
    "F42": leaving_early,
    "F43": leaving,
    "F44": lambda dice: Case({"cut": {"event": 99, "how": "stall", "hold": 0.4}}, rows=[SERVED], leave=b"[DONE]", **face(dice)),
    "F46": half_closed,
    "F49": too_large,
    "F51": pipelined,
    "F52": expecting,
    "F53": lambda dice: refuses(bodies.MALFORMED[dice.choice(sorted(bodies.MALFORMED))][1], **face(dice)),
    "F54": twice,
    "F55": deep,
    "F56": unknown,
    "F57": compressed,
    "F58": other_methods,
    "F61": same_key,
}

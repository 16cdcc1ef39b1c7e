"""What the soak of faults repeats inside one Weir: for each fault a case drawn from a seed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))

import expect  # noqa: E402
import test_faults_stream as stream  # noqa: E402
import test_faults_usage as usage  # noqa: E402
import test_faults_wire as wires  # noqa: E402
from client import Raw, Reply  # noqa: E402
from test_faults_wire import CHUNKED, DONE, HELLO, STOP, chunk, wire  # noqa: E402
from weir import Weir  # noqa: E402

API, FAITHFUL = expect.BOTH_FACES
OK = ("b", "ok", "reported")


def post(weir: Weir, raw: Raw, case: Case, body: bytes) -> Reply:
    return raw.ask("POST", case.path, [weir.bearer], body)


@dataclass
class Case:
    """One request of a fault: what provider `a` does, what its caller must see, which rows it leaves."""

    step: object = None
    sees: Callable = expect.whole
    rows: list[tuple] = field(default_factory=lambda: [OK])
    path: str = API
    stream: bool = True
    leave: bytes | None = None
    """The caller leaves as soon as it has read this; with an empty one, once the request was seen."""
    says: Callable = post
    """What the caller does to get its answer."""


def anyhow(dice: Random) -> dict:
    return {"path": dice.choice(expect.BOTH_FACES), "stream": dice.random() < 0.5}


def face(dice: Random) -> dict:
    return {"path": dice.choice(expect.BOTH_FACES)}


def next_serves(step: dict, outcome: str, **how) -> Case:
    return Case(step, rows=[("a", outcome, "none"), OK], **how)


def breaks_off(step: dict, outcome: str, codes=(502, 504), source="estimated", **how) -> Case:
    def sees(answer) -> None:
        expect.cut(answer, codes)

    return Case(step, sees, [("a", outcome, source)], **how)


def serves(step: dict, text: str = expect.WHOLE, source: str = "reported", **how) -> Case:
    def sees(answer) -> None:
        expect.whole(answer, text)

    return Case(step, sees, [("a", "ok", source)], **how)


def status(code: int, **more) -> dict:
    return {"status": code} | more


def rate_limit(dice: Random) -> Case:
    after = dice.choice(["20", "-5", "1000000000", "soon", ""])
    headers = [["retry-after", after]] if after else []
    return next_serves(status(429, headers=headers), "rate_limited", **anyhow(dice))


def client_fault(dice: Random) -> Case:
    code = dice.choice([400, 404, 413, 422])

    def sees(answer) -> None:
        assert (answer.status, answer.ended) == (code, "clean")

    return Case(status(code), sees, [("a", "client_fault", "none")], **anyhow(dice))


def interim(dice: Random) -> Case:
    early = {"fill": "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", "times": dice.randint(9, 400)}
    return next_serves(wire(early, wires.CHUNKED), "malformed", **anyhow(dice))


def cut_anywhere(dice: Random) -> Case:
    how = dice.choice(["reset", "fin", "end"])
    return breaks_off({"cut": {"event": dice.randint(1, 3), "how": how}}, "truncated", **face(dice))


def error_after(dice: Random) -> Case:
    def sees(answer) -> None:
        assert (answer.status, answer.ended) == (200, "clean")
        assert [chunk["error"]["code"] for chunk in answer.chunks if "error" in chunk] == [500]

    # Not 503: a provider that says it is overloaded is asked less.
    step = {"error": {"at": dice.randint(1, 2), "error": {"code": 500, "message": "engine died"}}}
    return Case(step, sees, [("a", "in_band_error", "estimated")], **face(dice))


def oddity(dice: Random) -> Case:
    text = stream.ODDITIES[dice.choice(sorted(stream.ODDITIES))](HELLO + STOP + wires.USAGE + DONE)
    cuts = sorted(dice.sample(range(1, len(text)), dice.randint(0, 12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def sees(answer) -> None:
        assert (answer.status, answer.ended, answer.text) == (200, "clean", "hello")

    step = wire(CHUNKED, *[chunk(piece) for piece in pieces], "0\r\n\r\n")
    return Case(step, sees, [("a", "ok", "reported")])


def any_split(dice: Random) -> Case:
    split = {"seed": dice.randrange(1 << 30), "most": dice.randint(1, 60)}
    eol = dice.choice(["\n", "\r\n"])
    return serves({"split": split, "eol": eol, "usage_at": "choice"}, **face(dice))


def no_utf8(dice: Random) -> Case:
    bad = dice.choice(sorted(stream.BAD_UTF8.values()))

    def sees(answer) -> None:
        assert answer.status == 200 and answer.ended == "clean"
        assert f"a{bad}b".encode("latin-1") in answer.body and answer.body.endswith(b"data: [DONE]\n\n")

    step = wire(CHUNKED, chunk(HELLO.replace("hello", f"a{bad}b")), chunk(STOP), chunk(DONE), "0\r\n\r\n")
    return Case(step, sees, [("a", "ok", "estimated")], **face(dice))


def no_json(dice: Random) -> Case:
    def sees(answer) -> None:
        assert answer.status == 200 and answer.done and "this is no JSON {" in answer.data

    step = {"bad_event": {"at": dice.randint(1, 3), "data": "this is no JSON {"}}
    return Case(step, sees, [("a", "ok", "reported")], **face(dice))


def odd_usage(dice: Random) -> Case:
    def sees(answer) -> None:
        assert (answer.status, answer.ended, answer.text) == (200, "clean", expect.WHOLE)

    table = usage.table(usage.ODD[dice.choice(sorted(usage.ODD))])
    return Case({"usage": table, "usage_at": "choice"}, sees, [("a", "ok", None)], **anyhow(dice))


def past_done(dice: Random) -> Case:
    def sees(answer) -> None:
        assert (answer.status, answer.ended) == (200, "clean") and b"hello" in answer.body

    more = chunk(f"data: {wires.LEAK}\n\n") * dice.randint(1, 5)
    return Case(wires.after_done("", more, "0\r\n\r\n"), sees, [("a", "ok", "estimated")], **face(dice))


def too_short(dice: Random) -> Case:
    if dice.random() < 0.5:
        step = wire(wires.JSON_HEAD + "content-length: 5000\r\n\r\n" + wires.WHOLE_JSON, then="close")
        return next_serves(step, "reset", stream=False, **face(dice))
    step = wire(wires.SSE + "content-length: 5000\r\n\r\n" + HELLO, then="close")
    return breaks_off(step, "truncated", **face(dice))


def too_long(dice: Random) -> Case:
    def sees(answer) -> None:
        assert (answer.status, answer.text) == (200, "hello") and wires.LEAK.encode() not in answer.body

    length = f"content-length: {len(wires.WHOLE_JSON)}\r\n\r\n"
    # At once: what comes once the connection serves the next request cannot be told from its answer.
    step = wire(wires.JSON_HEAD + length + wires.WHOLE_JSON + wires.EXTRA)
    return Case(step, sees, [("a", "ok", "estimated")], stream=False, **face(dice))


def bad_chunk(dice: Random) -> Case:
    bad = wires.BAD_CHUNKS[dice.choice(sorted(wires.BAD_CHUNKS))]
    return next_serves(wire(CHUNKED, bad), "malformed", **anyhow(dice))


CASES: dict[str, Callable[[Random], Case]] = {
    "F12": lambda dice: next_serves({"do": dice.choice(["reset", "close"])}, "reset", **anyhow(dice)),
    "F13": lambda dice: next_serves({"do": "silence", "hold": 5}, "first_content_timeout", **anyhow(dice)),
    "F14": lambda dice: next_serves({"first_delay": 5}, "first_content_timeout", **face(dice)),
    "F15": rate_limit,
    "F16": lambda dice: next_serves(status(dice.choice([500, 502, 504])), "server_error", **anyhow(dice)),
    "F19": client_fault,
    "F20": lambda dice: next_serves(
        wires.MALFORMED_HEADS[dice.choice(sorted(wires.MALFORMED_HEADS))], "malformed", **anyhow(dice)),
    "F21": interim,
    "F22": lambda dice: next_serves(
        status(dice.choice([301, 302, 303, 307, 308]), raw="", headers=[["location", "/s/stolen/v1"]]),
        "malformed", **anyhow(dice)),
    "F23": lambda dice: next_serves({"raw": "<html>log in</html>", "type": "text/html"}, "malformed", **anyhow(dice)),
    "F24": cut_anywhere,
    "F25": lambda dice: breaks_off({"cut": {"event": 2, "how": "stall"}}, "idle_timeout", **face(dice)),
    "F26": lambda dice: breaks_off({"cut": {"event": dice.randint(1, 3), "how": "fin"}}, "truncated", **face(dice)),
    "F27": lambda dice: next_serves(
        {"error": {"at": 0, "error": {"code": 500, "message": "no"}}}, "in_band_error", **face(dice)),
    "F28": error_after,
    "F29": oddity,
    "F31": any_split,
    "F32": no_utf8,
    "F33": no_json,
    "F34": lambda dice: serves({"usage_at": "none", "usage": None}, source="estimated", **anyhow(dice)),
    "F35": odd_usage,
    "F36": past_done,
    "F37": lambda dice: dice.choice([too_short, too_long])(dice),
    "F38": bad_chunk,
    "F39": lambda dice: next_serves(
        {"headers": [["content-encoding", dice.choice(["gzip", "br", "zstd"])]]}, "malformed", **anyhow(dice)),
}

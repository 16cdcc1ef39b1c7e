"""What one step of a scenario makes the chaos upstream send: pure functions from a step to bytes.

A step is a JSON object in the request's own body, under `x_chaos.<role>` (a list gives one step per
attempt, the last repeating). Every field has a default, so `{}` is a good answer:

    do        reply | reset | silence | close | garbage | wire    what happens at all
    send      of wire: what goes out in place of head and body, as a list of text (bytes as Latin-1),
              {"wait": s} and {"fill": text, "times": n}
    status    200                     head_delay  s before the head
    type      content type            headers     extra [name, value] pairs
    framing   chunked | length | close
    text      content deltas          finish      "stop"
    tier      the service_tier it says it was served at, from event tier_at on
    tools     true: the answer calls a tool, or with these arguments
    usage     table | null            usage_at    chunk | choice | every | none (default: chunk if asked)
    usages    one table per event, cumulative or odd (F35)
    eol       "\\n" | "\\r\\n" | "\\r"  comments    comment lines between events
    pace      s between events        first_delay s more (or less) before the first event
    split     event | byte | whole | bytes per piece | {"seed": n} for random pieces
    error     {"at": event, "error": {...}}  an error event instead of that event and what follows
    bad_event {"at": event, "data": text}    this data line before that event
    done      true: end with [DONE]   finale      false: no finish chunk
    cut       {"event": n | "byte": n, "how": reset | fin | stall | end, "after": s}
    raw       a body sent as it is (text), raw_b64 the same in base64
    echo_key  true: the body quotes the Authorization header
    then      keep | close | reset_next | {"close_after": s} | {"idle_data": text, "after": s}
              the connection afterwards
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

TEXT = ["Hel", "lo", " wörld ☃"]
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass
class Request:
    """What the step's answer depends on."""

    role: str
    id: str
    hit: int
    operation: str
    model: str
    stream: bool
    asked_usage: bool
    authorization: str = ""

    @property
    def upstream_id(self) -> str:
        """The reply's own id: it names the attempt in truth log and ledger alike."""
        return f"chatcmpl-{self.id}-{self.role}-{self.hit}"


@dataclass
class Piece:
    """Bytes of the body that are written at once, after `wait` seconds."""

    data: bytes
    wait: float = 0.0
    usage: dict | None = None


@dataclass
class Plan:
    """Everything that will be sent, known before the first byte of it is."""

    status: int
    headers: list
    pieces: list[Piece] = field(default_factory=list)
    framing: str = "length"
    head_delay: float = 0.0
    cut: dict | None = None
    then: object = "keep"
    fate: str = "complete"

    @property
    def body(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces)


def wire(step: dict) -> Iterator[Piece]:
    """What a `wire` step sends, made as it goes: it may be large."""
    wait = 0.0
    for part in step["send"]:
        if isinstance(part, dict) and "wait" in part:
            wait = part["wait"]
            continue
        text, times = (part["fill"], part["times"]) if isinstance(part, dict) else (part, 1)
        data = text.encode("latin-1")
        for _ in range(times):
            yield Piece(data, wait)
            wait = 0.0


def plan(step: dict, request: Request) -> Plan:
    """The whole answer to one request."""
    status = step.get("status", 200)
    out = Plan(status, [list(pair) for pair in step.get("headers", [])])
    out.head_delay = step.get("head_delay", 0.0)
    out.then = step.get("then", "keep")
    if "raw" in step or "raw_b64" in step or status != 200:
        _whole(out, step, request, _raw_body(step, request, status))
    elif request.stream:
        _stream(out, step, request)
    else:
        _whole(out, step, request, _document(step, request))
    out.pieces = _split(out.pieces, step.get("split", "event"))
    _cut(out, step.get("cut"))
    return out


def _raw_body(step: dict, request: Request, status: int) -> bytes:
    if "raw_b64" in step:
        return base64.b64decode(step["raw_b64"])
    if "raw" in step:
        return step["raw"].encode()
    quoted = f" for key {request.authorization}" if step.get("echo_key") else ""
    message = step.get("message", f"chaos says {status}{quoted}")
    error = {"message": message, "type": "chaos_error", "param": None, "code": f"chaos_{status}"}
    return json.dumps({"error": error}).encode()


def _whole(out: Plan, step: dict, request: Request, body: bytes) -> None:
    out.headers.append(["content-type", step.get("type", "application/json")])
    out.framing = step.get("framing", "length")
    made = out.status == 200 and not {"raw", "raw_b64"} & set(step)
    usage = step.get("usage", USAGE) if made else None
    out.pieces = [Piece(body, step.get("first_delay", 0.0), usage)]
    out.fate = "complete" if out.status == 200 else f"status_{out.status}"


def _document(step: dict, request: Request) -> bytes:
    """The unstreamed reply of each operation."""
    usage = step.get("usage", USAGE)
    text = "".join(step.get("text", TEXT))
    document = {"id": request.upstream_id, "created": 1700000000, "model": request.model}
    if "tier" in step:
        document["service_tier"] = step["tier"]
    if request.operation == "embeddings":
        vector = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 1.0]}]
        document = {"object": "list", "data": vector, "model": request.model}
    elif request.operation == "completions":
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
        document |= {"object": "text_completion", "choices": [choice]}
    else:
        message = {"role": "assistant", "content": text}
        if step.get("tools"):
            message |= {"content": None, "tool_calls": [_tool_call("".join(_arguments(step)))]}
        finish = step.get("finish", "tool_calls" if step.get("tools") else "stop")
        choice = {"index": 0, "message": message, "finish_reason": finish}
        document |= {"object": "chat.completion", "choices": [choice]}
    if usage is not None:
        document["usage"] = usage
    return json.dumps(document, ensure_ascii=False).encode()


def _arguments(step: dict) -> tuple[str, str]:
    """In two pieces."""
    tools = step["tools"]
    text = tools if isinstance(tools, str) else '{"city":"Oslo"}'
    return text[:8], text[8:]


def _tool_call(arguments: str) -> dict:
    function = {"name": "weather", "arguments": arguments}
    return {"index": 0, "id": "call_1", "type": "function", "function": function}


def _deltas(step: dict) -> list[dict]:
    if not step.get("tools"):
        return [{"content": text} for text in step.get("text", TEXT)]
    first, second = _arguments(step)
    parts = [_tool_call(first), {"index": 0, "function": {"arguments": second}}]
    return [{"tool_calls": [part]} for part in parts]


def _chunk(step: dict, request: Request, delta: dict | None, finish: str | None) -> dict:
    """One stream event; `delta` None is the usage chunk without a choice."""
    chunk = {"id": request.upstream_id, "created": 1700000000, "model": request.model}
    if request.operation == "completions":
        chunk["object"] = "text_completion"
        body = {"text": (delta or {}).get("content", "")}
    else:
        chunk["object"] = "chat.completion.chunk"
        body = {"delta": delta}
    choice = {"index": 0, **body, "finish_reason": finish}
    chunk["choices"] = [] if delta is None else [choice]
    return chunk


def _stream(out: Plan, step: dict, request: Request) -> None:
    """Events, each a piece of its own."""
    eol = step.get("eol", "\n")
    usage = step.get("usage", USAGE)
    where = step.get("usage_at", "chunk" if request.asked_usage else "none")
    finale = step.get("finish", "tool_calls" if step.get("tools") else "stop")
    chunks = [_chunk(step, request, delta, None) for delta in _deltas(step)]
    if chunks and request.operation == "chat":
        chunks[0]["choices"][0]["delta"]["role"] = "assistant"
    if step.get("finale", True):
        chunks.append(_chunk(step, request, {}, finale))
    if where == "choice" and chunks:
        chunks[-1]["usage"] = usage
    elif where == "every":
        for index, chunk in enumerate(chunks):
            tables = step.get("usages", [usage])
            chunk["usage"] = tables[min(index, len(tables) - 1)]
    elif where == "chunk" and usage is not None:
        chunks.append(_chunk(step, request, None, None) | {"usage": usage})
    if "tier" in step:
        for chunk in chunks[step.get("tier_at", 0):]:
            chunk["service_tier"] = step["tier"]
    out.headers.append(["content-type", step.get("type", "text/event-stream")])
    out.framing = step.get("framing", "chunked")
    out.pieces = _events(step, chunks, eol)
    if out.pieces:
        out.pieces[0].wait += step.get("first_delay", 0.0)
    if "error" in step:
        out.fate = "in_band"


def _events(step: dict, chunks: list[dict], eol: str) -> list[Piece]:
    pieces: list[Piece] = []
    error, bad = step.get("error"), step.get("bad_event")
    pace = step.get("pace", 0.0)
    for index, chunk in enumerate(chunks):
        if bad and bad["at"] == index:
            pieces.append(_event(bad["data"], eol, pace))
        if error and error["at"] == index:
            document = {"error": error["error"]}
            pieces.append(_event(json.dumps(document), eol, pace))
            return pieces + ([_event("[DONE]", eol, pace)] if error.get("done") else [])
        for comment in step.get("comments", []):
            pieces.append(Piece(f": {comment}{eol}{eol}".encode(), pace))
        data = json.dumps(chunk, ensure_ascii=False)
        pieces.append(_event(data, eol, pace, chunk.get("usage")))
    if step.get("done", True):
        pieces.append(_event("[DONE]", eol, pace))
    return pieces


def _event(data: str, eol: str, wait: float, usage: dict | None = None) -> Piece:
    return Piece(f"data: {data}{eol}{eol}".encode(), wait, usage)


def _split(pieces: list[Piece], split: object) -> list[Piece]:
    """Cuts the body anew: where the pieces end says nothing about where events end."""
    if split == "event":
        return pieces
    body = b"".join(piece.data for piece in pieces)
    usage = next((piece.usage for piece in reversed(pieces) if piece.usage), None)
    if split == "whole":
        sizes = [len(body)]
    elif isinstance(split, dict):
        dice = random.Random(split["seed"])
        sizes = [dice.randint(1, split.get("most", 40)) for _ in range(len(body))]
    else:
        sizes = [1 if split == "byte" else int(split)] * len(body)
    out, at = [], 0
    for size in sizes:
        if at < len(body):
            out.append(Piece(body[at : at + size]))
            at += size
    if out:
        out[0].wait = pieces[0].wait
        out[-1].usage = usage
    return out


def _cut(out: Plan, cut: dict | None) -> None:
    """Keeps the pieces before the cut and names the fate."""
    if not cut:
        return
    out.cut = {"how": "reset", "after": 0.0} | cut
    if "event" in cut:
        out.pieces = out.pieces[: cut["event"]]
    else:
        left, kept = cut["byte"], []
        for piece in out.pieces:
            if left > 0:
                whole = left >= len(piece.data)
                kept.append(Piece(piece.data[:left], piece.wait, piece.usage if whole else None))
                left -= len(piece.data)
        out.pieces = kept
    out.fate = f"cut_{out.cut['how']}"

"""Recorded exchanges, replayed by the chaos upstream through the real binary.

Reads `recorded.jsonl` in the folder that WEIR_CORPUS names; without it says that it skips.
"""

import base64
import json
import os
import secrets
from pathlib import Path

import pytest
from clients import OPENROUTER

PATHS = {
    "openai-chat": "chat/completions",
    "openai-completions": "completions",
    "openai-embeddings": "embeddings",
}
PASSED = {200, 400, 404, 422}
SHARDS = 6


def recorded() -> list[dict]:
    """Every exchange of a dialect that Weir speaks."""
    folder = os.environ.get("WEIR_CORPUS")
    if not folder:
        pytest.skip("WEIR_CORPUS is not set: the recorded exchanges are not replayed")
    lines = (Path(folder) / "recorded.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["dialect"] in PATHS]


def exchanges(shard: int) -> list[dict]:
    """Those whose answer passes; see the last test for the others."""
    return [entry for entry in recorded() if entry["status"] in PASSED][shard::SHARDS]


def split(entry: dict, how: str) -> object:
    size = len(entry["response"].encode())
    if how == "random":
        return {"seed": size, "most": max(40, size // 50)}
    return how


def request(entry: dict, how: str, asks: bool) -> tuple[str, bytes]:
    """The recorded request, sent to our model and with the recorded reply in it."""
    try:
        document = json.loads(entry["request"])
    except ValueError:
        document = {"messages": [{"role": "user", "content": "hello"}]}
    for steering in ("provider", "models", "plugins", "route", "preset", "n"):
        document.pop(steering, None)
    id = "s" + secrets.token_hex(10)
    document |= {"model": "test/m", "session_id": id, "stream": entry["stream"]}
    document.pop("stream_options", None)
    if entry["stream"] and asks:
        document["stream_options"] = {"include_usage": True}
    step = {
        "status": entry["status"],
        "type": entry["content_type"] or "application/json",
        "raw_b64": base64.b64encode(entry["response"].encode()).decode(),
        "framing": "chunked" if entry["stream"] else "length",
        "split": split(entry, how),
    }
    document["x_chaos"] = {"id": id, "a": step}
    return id, json.dumps(document, ensure_ascii=False).encode()


def replay(weir, entries: list[dict], face: str, how: str, asks: bool = True):
    """Each exchange with its reply and its row."""
    replies, raw = [], weir.connect(30)
    for entry in entries:
        id, body = request(entry, how, asks)
        reply = raw.ask("POST", f"{face}/{PATHS[entry['dialect']]}", [weir.bearer], body)
        assert reply.ended == "clean", (entry["id"], reply.ended)
        replies.append((entry, id, reply))
        if reply.headers.get("connection") == "close":
            raw.close()
            raw = weir.connect(30)
    raw.close()
    rows = {row["session"]: row for row in weir.ledger.wait(len(entries), seconds=15)}
    assert len(rows) == len(entries)
    return [(entry, reply, rows[id]) for entry, id, reply in replies]


def counted(entry: dict, row: dict) -> str:
    """What is wrong with the row, if anything."""
    want = entry["expected_usage"]
    if want is None:
        return "" if row["source"] in ("estimated", "none") else f"source {row['source']}"
    inputs = sum(row[kind] for kind in ("input", "cache_read", "cache_write_5m", "cache_write_1h",
                                        "input_audio", "input_audio_cached", "input_image", "input_video"))
    outputs = sum(row[kind] for kind in ("output", "reasoning", "output_audio", "output_image"))
    have = (row["source"], inputs, outputs)
    expected = ("reported", want["input"] or 0, want["output"] or 0)
    return "" if have == expected else f"{have} instead of {expected}"


def without_usage_chunk(body: str) -> bytes:
    """The stream less the events that carry usage and no choice."""
    kept = []
    for event in body.split("\n\n"):
        data = event.strip().removeprefix("data:").strip()
        document = json.loads(data) if data.startswith("{") else {}
        if not (document.get("choices") == [] and document.get("usage")):
            kept.append(event)
    return "\n\n".join(kept).encode()


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("how", ["whole", "byte", "random"])
def test_v1_gives_the_recorded_bytes_and_the_ledger_the_recorded_usage(run, how, shard):
    weir = run("a", a={"first_content": "30s", "idle": "30s", "total": "60s"})
    wrong = []
    for entry, reply, row in replay(weir, exchanges(shard), "/v1", how):
        if (reply.status, reply.body) != (entry["status"], entry["response"].encode()):
            wrong.append(f"{entry['id']} {entry['dialect']}: status {reply.status}, bytes differ")
        if complaint := counted(entry, row):
            wrong.append(f"{entry['id']} {entry['dialect']} {row['outcome']}: {complaint}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_v1_removes_only_the_usage_chunk_that_weir_asked_for(run, shard):
    weir = run("a", a={"first_content": "20s", "idle": "20s"})
    entries = [entry for entry in exchanges(shard) if entry["stream"]]
    wrong = []
    for entry, reply, row in replay(weir, entries, "/v1", "random", asks=False):
        if reply.body not in (without_usage_chunk(entry["response"]), entry["response"].encode()):
            wrong.append(f"{entry['id']}: bytes differ")
        if any(not c["choices"] and c.get("usage") for c in reply.chunks if "choices" in c):
            wrong.append(f"{entry['id']}: a usage chunk nobody asked for")
        if complaint := counted(entry, row):
            wrong.append(f"{entry['id']}: {complaint}")
    assert not wrong, "\n".join(wrong)


def recorded_text(entry: dict) -> str:
    """The content of a recorded chat stream."""
    lines = entry["response"].replace("\r\n", "\n").split("\n")
    data = [line[5:].strip() for line in lines if line.startswith("data:")]
    documents = [json.loads(text) for text in data if text.startswith("{")]
    deltas = [c["delta"] for d in documents for c in d.get("choices", []) if c.get("delta")]
    parts = [delta.get("content") for delta in deltas]
    return "".join(part for part in parts if isinstance(part, str))


def shape(value: object, key: str = "") -> object:
    """What a schema looks at: everything but free text and numbers."""
    if isinstance(value, dict):
        return {key: shape(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item, key) for item in value]
    named = isinstance(value, str) and key in ("object", "role", "type", "finish_reason")
    return value if named or value is None or isinstance(value, bool) else type(value)()


def refused(clients: dict, entry: dict, reply, checked: set) -> list[str]:
    """What OpenRouter's own schemas say against a chat's reply; `checked` are shapes that need no second look."""
    if (entry["dialect"], entry["status"]) != ("openai-chat", 200):
        return []
    shapes = {json.dumps(shape(document)) for document in reply.chunks or [reply.json()]} - checked
    checked |= shapes
    ask = {"do": "check", "stream": entry["stream"], "documents": [json.loads(text) for text in shapes]}
    errors = {name: clients[name].ask(**ask, base_url="", api_key="")["error"] for name in OPENROUTER}
    return [f"{entry['id']} {name}: {error['message'][:300]}" for name, error in errors.items() if error]


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("how", ["whole", "byte", "random"])
def test_api_v1_keeps_the_content_and_counts_the_same(run, clients, how, shard):
    weir = run("a", a={"first_content": "30s", "idle": "30s", "total": "60s"})
    wrong, checked = [], set()
    for entry, reply, row in replay(weir, exchanges(shard), "/api/v1", how):
        if entry["content_type"] == "text/plain":
            continue  # no JSON at all: there is no shape to put it in
        if reply.status != entry["status"]:
            wrong.append(f"{entry['id']}: status {reply.status}, not {entry['status']}")
        if complaint := counted(entry, row):
            wrong.append(f"{entry['id']} {entry['dialect']} {row['outcome']}: {complaint}")
        if entry["stream"] and entry["dialect"] == "openai-chat" and reply.text != recorded_text(entry):
            wrong.append(f"{entry['id']}: other text")
        if entry["status"] != 200 and reply.error.get("message") != "Provider returned error":
            wrong.append(f"{entry['id']}: {reply.error}")
        if how == "whole":
            wrong += refused(clients, entry, reply, checked)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("face", ["/v1", "/api/v1"])
def test_an_exchange_that_failed_is_answered_by_the_next_endpoint(run, face):
    for entry in recorded():
        if entry["status"] in PASSED:
            continue
        weir = run("ab")  # the failure cools its endpoint
        id, body = request(entry, "whole", True)
        with weir.connect() as raw:
            reply = raw.ask("POST", f"{face}/{PATHS[entry['dialect']]}", [weir.bearer], body)
        assert reply.status == 200, (entry["id"], reply.body[:200])
        failed, _ = weir.rows(id, 2)
        assert failed["status"] == entry["status"] and not counted(entry, failed), entry["id"]


def test_the_recordings_are_there_when_they_are_named():
    if os.environ.get("WEIR_CORPUS"):
        assert len(exchanges(0)) > 80

"""Many callers at once, each request with a watermark of its own: nobody reads another's (S32)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import secrets
from dataclasses import dataclass, field

from client import head
from weir import Weir

MARK = re.compile(rb"mark-[0-9a-f]{24}")
PATHS = ["/api/v1/chat/completions", "/v1/chat/completions"]
# What the first endpoint does before the answer comes, from it or from the next one. Few fail: more
# than a fifth of all requests is not tried again.
MISHAPS = [{}] * 20 + [{"split": "byte"}] * 4 + [{"status": 500}, {"do": "reset"}, {"error": {"at": 0, "error": {"code": 500}}}]


@dataclass
class Found:
    """What came of all requests."""

    whole: int = 0
    unserved: int = 0
    """Answered with an error."""
    left: int = 0
    """Callers that went away in the middle."""
    strange: list[str] = field(default_factory=list)
    """Answers with a mark that is not their request's, or with the id of another's."""
    owners: dict[str, str] = field(default_factory=dict)
    """The hash of the key that asked, by session."""
    generations: set[str] = field(default_factory=set)


def keys(weir: Weir, count: int) -> list[str]:
    """So many keys, each in a workspace of its own, written beside the first; a reload is due."""
    made = [f"sk-or-v1-{secrets.token_hex(32)}" for _ in range(count)]
    with open(weir.conf / "keys.toml", "a") as file:
        for number, key in enumerate(made):
            digest = hashlib.sha256(key.encode()).hexdigest()
            file.write(f'\n[[key]]\nname = "k{number}"\nworkspace = "w{number}"\nhash = "{digest}"\n')
    return made


async def interleaved(weir: Weir, callers: list[str], requests: int, lanes: int, seed: int) -> Found:
    """`requests` by `lanes` connections at once, each with the key of another caller every time."""
    found, left = Found(), iter(range(requests))
    dice = [random.Random(seed * 1_000 + lane) for lane in range(lanes)]
    await asyncio.gather(*(_lane(weir, callers, left, found, each) for each in dice))
    return found


async def _lane(weir: Weir, callers: list[str], left: iter, found: Found, dice: random.Random) -> None:
    reader = writer = None
    for _ in left:
        if writer is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", weir.port, limit=1 << 20)
        key = dice.choice(callers)
        mark = f"mark-{dice.randbytes(12).hex()}"
        session = f"s{mark[5:]}"
        found.owners[session] = hashlib.sha256(key.encode()).hexdigest()
        body = _body(mark, session, dice)
        fields = [("host", "w"), ("authorization", f"Bearer {key}"), ("content-length", str(len(body)))]
        writer.write(head("POST", dice.choice(PATHS), fields) + body)
        if dice.random() < 0.02:
            await asyncio.sleep(dice.random() * 0.01)
            found.left += 1
            writer.close()
            writer = None
            continue
        generation, answer, keep = await asyncio.wait_for(_answer(reader), 30)
        marks = set(MARK.findall(answer))
        if marks - {mark.encode()} or generation in found.generations:
            found.strange.append(f"{mark} got {marks}: {answer[:300]!r}")
        found.whole += bool(marks)
        found.unserved += not marks
        found.generations.add(generation)
        if not keep:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


def _body(mark: str, session: str, dice: random.Random) -> bytes:
    text = {"text": [mark[:9], mark[9:], " ", mark]}
    document = {
        "model": "test/m", "stream": dice.random() < 0.6, "session_id": session,
        "messages": [{"role": "user", "content": mark}],
        "x_chaos": {"id": session, "a": dice.choice(MISHAPS) | text, "b": text},
    }
    return json.dumps(document).encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, bytes, bool]:
    """Generation id, body, and whether the connection stays."""
    raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    fields = dict(line.split(": ", 1) for line in raw.split("\r\n")[1:] if ": " in line)
    if "content-length" in fields:
        body = await reader.readexactly(int(fields["content-length"]))
    else:
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readline()
        body = b"".join(parts)
    return fields.get("x-generation-id", ""), body, fields.get("connection") != "close"


def strangers(weir: Weir, found: Found) -> list[str]:
    """Rows that stand under another key than the one that asked."""
    rows = ((row["session"], row["key_hash"]) for row in weir.ledger.rows())
    shown = ((session, hash.hex() if isinstance(hash, bytes) else hash) for session, hash in rows)
    return [session for session, hash in shown if found.owners.get(session) != hash]

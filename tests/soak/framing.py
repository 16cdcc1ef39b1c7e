"""Mutated requests by the million in front of four real parsers; prints one JSON object.

    python tests/soak/framing.py [--quick | --count N] [--seed N]

Every vector of tests/framing is changed by a few bytes, fields or lines; connections are reused as
long as Weir keeps them, and some requests are sent with others behind them in one write. Whatever the
bytes: an answer of 200 means that the upstream saw exactly this body once, any other that it saw
nothing of it, and Weir's counters agree with both sides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import secrets
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "framing"))

import parsers  # noqa: E402
from rig import TARGET, Ask, Rig  # noqa: E402
from vectors import SERVED, VECTORS, Vector  # noqa: E402

QUICK, ALL, ROUND = 5_000, 1_000_000, 20_000
CALLERS = 256
STALL = 2.0
"""Seconds without an answer after which a request is taken for one that has not ended."""
ID = re.compile(r"(hidden)?(v[0-9a-f]{16})")
PIECES = [" ", "\t", "\r\n", "\n", "\r", "\0", ":", ",", ";", "_", "+", "-", "0", "1", "f", "0x", "\x0b", "\x7f", "\xa0", "\xff", "%0d%0a",
          "chunked", "identity", "\r\n ", "\r\n\r\n", "0\r\n\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Host: x\r\n",
          "Content-Length: {L}\r\n", "Expect: 100-continue\r\n", "Upgrade: h2c\r\n", "Connection: close\r\n", "HTTP/1.1", "GET / HTTP/1.1\r\n"]
BASE = [vector for vector in VECTORS if len(vector.text) < 2_000 and not vector.fin]


TARGETS = {TARGET, "/v1/completions", "/v1/embeddings"}
"""Fewer letters make another path that is served."""
GOOD = [vector for vector in BASE if vector.fate == SERVED]


BODIES = ("{2}", "{B}", "{C}", "{c}")
"""What a text does not begin with: behind a head that lacks its own, it would be that one's."""


def mutated(chance: random.Random) -> str:
    """A changed vector that begins with its own request: what is hidden behind one is so."""
    while True:
        text = changed(chance)
        if text.strip("\r\n \t") and not text.lstrip("\r\n").startswith(BODIES):
            return text


def changed(chance: random.Random) -> str:
    """A vector with up to four changes."""
    text = chance.choice(GOOD if chance.random() < 0.6 else BASE).text
    for _ in range(chance.choice([0, 1, 1, 1, 2, 2, 3, 4])):
        at = chance.randrange(len(text) + 1)
        match chance.randrange(7):
            case 0:
                text = text[:at] + chr(chance.randrange(256)) + text[at + 1:]
            case 1:
                text = text[:at] + chance.choice(PIECES) + text[at:]
            case 2:
                text = text[:at] + text[at + chance.randint(1, 4):]
            case 3:
                letter = text[at:at + 1]
                text = text[:at] + (letter.swapcase() if letter.isascii() else letter) + text[at + 1:]
            case 4 | 5 as which:
                lines = text.split("\r\n")
                one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
                if which == 4:
                    lines.insert(one, lines[two])
                else:
                    lines[one], lines[two] = lines[two], lines[one]
                text = "\r\n".join(lines)
            case 6:
                other = chance.choice(BASE).text.split("\r\n")
                lines = text.split("\r\n")
                lines.insert(chance.randrange(len(lines)), chance.choice(other))
                text = "\r\n".join(lines)
    return text


@dataclass
class Tally:
    """What the callers of one round saw."""

    served: set
    refused: set
    unsure: set
    """Left before an answer: the upstream may have seen them, once."""
    answers: Counter
    wrong: list


class Caller:
    """One after the other, on a connection as long as Weir keeps it."""

    def __init__(self, rig: Rig, seed: int, tally: Tally) -> None:
        self.rig, self.tally = rig, tally
        self.chance = random.Random(seed)
        self.stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, count: int) -> None:
        while count > 0:
            batch = min(count, self.chance.choice([1, 1, 1, 2, 3]))
            count -= batch
            await self._batch(batch)
        self._leave()

    def _leave(self) -> None:
        if self.stream:
            self.stream[1].close()
        self.stream = None

    async def _batch(self, count: int) -> None:
        """So many requests in one write: at most the first is served."""
        name = self.chance.choice(parsers.NAMES)
        key = self.rig.weir.deployment.key
        asks = [Ask("", name, f"v{self.chance.getrandbits(64):016x}") for _ in range(count)]
        texts = [mutated(self.chance) for _ in asks]
        data = b"".join(Vector("", text, "").bytes(ask.body, key, ask.second(key)) for ask, text in zip(asks, texts))
        if not data:
            return
        self.tally.refused.update(ask.id for ask in asks[1:])
        first = asks[0].id
        fresh = self.stream is None
        self.stalled = False
        try:
            if fresh:
                self.stream = await asyncio.open_connection("127.0.0.1", self.rig.weir.port)
            status = await self._exchange(data)
        except (OSError, EOFError, asyncio.IncompleteReadError) as error:
            # Without an answer Weir closes only on a caller who has left, or before it has read anything.
            if fresh and not self.stalled:
                self.tally.wrong.append(f"{error!r} in place of an answer to {data!r}")
            self.tally.answers["left" if self.stalled else "closed"] += 1
            self.tally.unsure.add(first)
            self._leave()
            return
        except ValueError as error:
            self.tally.wrong.append(f"{error!r} for {data!r}")
            self._leave()
            return
        self.tally.answers[status] += 1
        served = status == 200 and self.inference
        (self.tally.served if served else self.tally.refused).add(first)

    async def _exchange(self, data: bytes) -> int:
        reader, writer = self.stream
        writer.write(data)
        try:
            head = await asyncio.wait_for(self._head(reader), STALL)
        except TimeoutError:
            self.stalled = True
            self.tally.answers["stalled"] += 1
            writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
            head = await asyncio.wait_for(self._head(reader), 30)
        lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        status = int(lines[0].split(" ")[1])
        if "content-length" not in fields:
            raise ValueError(f"no length: {head!r}")
        body = await asyncio.wait_for(reader.readexactly(int(fields["content-length"])), 30)
        self.inference = "x-generation-id" in fields
        if status != 200 and json.loads(body)["error"]["code"] != status:
            raise ValueError(f"no envelope: {body!r}")
        if fields.get("connection") == "close":
            if await asyncio.wait_for(reader.read(1), 30):
                raise ValueError("more after the last answer")
            self._leave()
        return status

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 100 "):
                return head


async def one_round(rig: Rig, seed: int, count: int) -> Tally:
    tally = Tally(set(), set(), set(), Counter(), [])
    shares = [count // CALLERS + (index < count % CALLERS) for index in range(CALLERS)]
    await asyncio.gather(*(Caller(rig, seed + index, tally).run(share) for index, share in enumerate(shares)))
    return tally


CUT = "connection closed before message completed"
"""What hyper says of a request whose caller left while it was sent or answered."""


def agrees(counted: Counter, name: str, seen: int) -> bool:
    """What a caller left at once may have been dispatched and not read."""
    attempts = counted[f"attempts {name}"]
    return attempts - counted[f"left {name}"] <= seen <= attempts


def judge(rig: Rig, before: Counter, tally: Tally) -> tuple[list[str], int]:
    """Everything that does not agree, and how many requests the upstreams saw."""
    wrong = list(tally.wrong)
    seen: Counter = Counter()
    by_parser: dict[str, int] = {}
    deadline = time.monotonic() + 20
    lines = {name: parser.new() for name, parser in rig.parsers.items()}
    while True:
        now = rig.counts() - before
        by_parser = {name: sum(line.get("error") != CUT for line in found) for name, found in lines.items()}
        if all(agrees(now, name, count) for name, count in by_parser.items()) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
        for name, parser in rig.parsers.items():
            lines[name] += parser.new()
    for name, count in by_parser.items():
        if not agrees(now, name, count):
            told = [now[f"{what} {name}"] for what in ("attempts", "left")]
            wrong.append(f"{name} saw {count} requests, Weir counted {told[0]}, of which {told[1]} were left")
        cut = len(lines[name]) - count
        if cut > now[f"left {name}"]:
            wrong.append(f"{name} saw {cut} requests cut, {now[f'left {name}']} were left")
        for line in lines[name]:
            if line.get("error") == CUT:
                continue
            found = ID.search(line.get("body", ""))
            if not found or found[1]:
                wrong.append(f"{name} saw what nobody asked: {line}")
                continue
            ask = Ask("", name, found[2])
            seen[ask.id] += 1
            want = ask.expected
            if (line["method"], line["body"].strip()) != (want["method"], want["body"]) or line["target"] not in TARGETS:
                wrong.append(f"{name} saw other bytes: {line}")
    for id, times in seen.items():
        if times > 1 or id not in tally.served | tally.unsure:
            wrong.append(f"{id} was seen {times} times though it was {'not ' * (id not in tally.served)}served")
    wrong += [f"{id} was served and not seen" for id in tally.served if id not in seen]
    return wrong, sum(by_parser.values())


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--count", type=int)
    arguments.add_argument("--seed", type=int, default=secrets.randbits(32))
    asked = arguments.parse_args()
    count = asked.count or (QUICK if asked.quick else ALL)
    began, done, seen = time.monotonic(), 0, 0
    answers: Counter = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        rig = Rig(Path(directory))
        try:
            while done < count and not wrong:
                share = min(ROUND, count - done)
                before = rig.counts()
                tally = asyncio.run(one_round(rig, asked.seed + done, share))
                found, arrived = judge(rig, before, tally)
                wrong += found
                answers += tally.answers
                done, seen = done + share, seen + arrived
                print(f"{done} of {count}", file=sys.stderr)
        finally:
            rig.stop()
    print(json.dumps({
        "suite": "framing", "seed": asked.seed, "count": done, "mismatches": len(wrong), "seen_upstream": seen,
        "answers": {str(key): value for key, value in sorted(answers.items(), key=str)},
        "seconds": round(time.monotonic() - began, 1), "first_mismatches": wrong[:20],
    }))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

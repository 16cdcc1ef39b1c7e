"""Load on one Weir: many callers at once, each request scripted and remembered."""

from __future__ import annotations

import os
import random
import threading
import time
from dataclasses import dataclass, field

from weir import Weir

SCRIPTS = [
    {"pace": 0.002, "text": ["word "] * 8},
    {"pace": 0.01, "text": ["word "] * 12},
    {"pace": 0.0, "text": ["quick"]},
    {"head_delay": 0.03, "pace": 0.005},
    {"usage_at": "choice", "pace": 0.003},
]


SHARDS = 8


def shards(variable: str, count: int) -> list[range]:
    """Seeds for tests that run side by side: as many as the variable says, the first is WEIR_SEED."""
    first = int(os.environ.get("WEIR_SEED", 1))
    seeds = range(first, first + int(os.environ.get(variable, count)))
    return [seeds[number::SHARDS] for number in range(min(SHARDS, len(seeds)))]


@dataclass
class Call:
    """One request and what its caller saw of it."""

    id: str
    stream: bool
    seed: int
    """Of the load it belongs to."""
    status: int = 0
    ended: str = "refused"
    whole: bool = False
    """The terminal event, or the whole body, was seen."""
    ended_at: float = 0.0
    """Monotonic time at which the caller had all it got."""


@dataclass
class Load:
    """Callers that ask one after the other until told to stop."""

    weir: Weir
    seed: int
    callers: int = 8
    calls: list[Call] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self.threads = [
            threading.Thread(target=self._caller, args=(random.Random(self.seed * 1000 + n),))
            for n in range(self.callers)
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """No new requests; waits for the open ones."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=30)
            assert not thread.is_alive(), "a caller hangs"

    def _caller(self, dice: random.Random) -> None:
        while not self.stopping.is_set():
            try:
                self._one(dice)
            except OSError:
                time.sleep(0.01)  # nobody listens: it was killed, or has ended

    def _one(self, dice: random.Random) -> None:
        stream = dice.random() < 0.7
        path = dice.choice(["/v1", "/api/v1"]) + "/chat/completions"
        id, body = self.weir.body({"*": dice.choice(SCRIPTS)}, stream=stream)
        call = Call(id, stream, self.seed)
        with self.weir.connect(15) as raw:
            self.calls.append(call)
            reply = raw.ask("POST", path, [self.weir.bearer], body)
        call.ended_at = time.monotonic()
        call.status, call.ended = reply.status, reply.ended
        if stream:
            call.whole = reply.status == 200 and b"data: [DONE]" in reply.body
        else:
            call.whole = reply.status == 200 and reply.ended == "clean"

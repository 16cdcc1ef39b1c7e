"""slowhttptest against a Weir that serves good callers meanwhile (F45, F47, F48; S1 to S3)."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import dataclass, field

import conf
from client import Raw
from weir import Weir

PATH = "/v1/chat/completions"
RAMP_SECONDS = 8
"""Over which an attack's connections are opened: it is their being slow that is measured."""
ALL_CLOSED = "No open connections left"
MODELS = 1_500
"""So many make the list of models too long for a caller's socket to take while nobody reads."""

# What each attack is, and which deadlines end it.
MODES = {
    "headers": (["-H"], ["head"]),
    "body": (["-B", "-s", "8192"], ["body"]),
    "read": (["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "512", "-k", "1"], ["write"]),
}


def settings(deadline: int) -> dict:
    """Every deadline the same, so that an attack's length says whether it was kept."""
    times = dict.fromkeys(["head_timeout", "body_timeout", "write_timeout"], f"{deadline}s")
    return {"limits": times | {"keepalive_idle": "120s", "connections": 9_000, "connections_per_address": 9_000}}


def models() -> list[conf.Model]:
    return [conf.Model("test/m", ["a"])] + [conf.Model(f"test/model-{n}", ["a"]) for n in range(MODELS)]


@dataclass
class Good:
    """Callers that ask one thing after the other, and how long each answer took."""

    weir: Weir
    callers: int = 4
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __enter__(self) -> Good:
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(self.callers)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=30)

    def _ask(self) -> None:
        with self.weir.connect() as raw:
            while not self.stopping.wait(0.01):
                self._once(raw)

    def _once(self, raw: Raw) -> None:
        _, body = self.weir.body(stream=False)
        began = time.monotonic()
        reply = raw.ask("POST", PATH, [self.weir.bearer], body)
        self.seconds.append(time.monotonic() - began)
        if (reply.status, reply.ended) != (200, "clean"):
            self.failed.append(f"{reply.status} {reply.ended}")

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.seconds)
        return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


@dataclass
class Attack:
    """What became of an attack's connections."""

    seconds: float
    all_closed: bool
    """Before slowhttptest itself gave up."""
    said: str
    counted: dict[str, float]


def send(port: int, key: str, mode: str, clients: int, most: int, through: tuple[str, ...] = ()) -> tuple[float, str]:
    """Runs one attack on a port, started through a command, until none of its connections is open, or for
    so many seconds; how long it took, and what it said."""
    how, _ = MODES[mode]
    path = "/api/v1/models" if mode == "read" else PATH
    command = [*through, "slowhttptest", *how, "-c", str(clients), "-r", str(max(clients // RAMP_SECONDS, 1)), "-i", "1", "-l", str(most), "-p", "5",
               "-u", f"http://127.0.0.1:{port}{path}"]
    if mode == "body":
        # It knows no other way to send a key.
        command += ["-f", f"application/json\r\nauthorization: Bearer {key}"]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=most + 60)
    return time.monotonic() - began, done.stdout


def counts(weir: Weir, mode: str) -> dict[str, float]:
    """How often each deadline has ended a connection that should end those of an attack."""
    return {each: weir.metric("deadlines_total", deadline=each) for each in MODES[mode][1]}


def attack(weir: Weir, mode: str, clients: int, most: int) -> Attack:
    """What became of one attack on Weir."""
    before = counts(weir, mode)
    seconds, said = send(weir.port, weir.deployment.key, mode, clients, most)
    return ended(weir, mode, before, seconds, said)


def ended(weir: Weir, mode: str, before: dict[str, float], seconds: float, said: str) -> Attack:
    """What became of an attack that is over, by what had been counted before it."""
    counted = {each: count - before[each] for each, count in counts(weir, mode).items()}
    return Attack(seconds, ALL_CLOSED in said, said[-1500:], counted)

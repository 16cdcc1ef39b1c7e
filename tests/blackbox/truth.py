"""The truth log: what the chaos upstream received and sent, one JSON object a line.

A line is on its way to the file before the bytes it speaks of are on their way to the socket, so
the log is never behind what a caller may have seen. Kinds, by `event`:

    request  id role hit conn method target headers length sha256 framing body
    plan     id role hit status fate upstream_id bytes
    usage    id role hit usage                        before the piece that carries it
    end      id role hit sent how                     how: complete, a cut, or caller_gone
    closed   conn how                                 how: by_peer or by_us
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

BODY_KEPT = 256 << 10


class TruthLog:
    """Appends; one write call a line."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "ab", buffering=0)
        self._lock = threading.Lock()

    def write(self, event: str, **fields: object) -> None:
        line = json.dumps({"event": event, "at": time.time(), **fields}) + "\n"
        with self._lock:
            self._file.write(line.encode())


class Truth:
    """Reads a truth log, each line once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read = 0
        self._known: list[dict] = []

    def lines(self, event: str | None = None, **match: object) -> list[dict]:
        """Lines of a kind whose fields have these values."""
        return [
            entry for entry in self._all()
            if event in (None, entry["event"]) and all(entry.get(key) == value for key, value in match.items())
        ]

    def _all(self) -> list[dict]:
        with self._lock:
            if self.path.exists():
                with open(self.path, "rb") as file:
                    file.seek(self._read)
                    whole, _, _ = file.read().rpartition(b"\n")
                self._known += [json.loads(line) for line in whole.splitlines()]
                self._read += len(whole) + bool(whole)
            return self._known.copy()

    def requests(self, id: str, role: str | None = None) -> list[dict]:
        """What arrived for one caller's request, in order."""
        match = {"id": id} | ({"role": role} if role else {})
        return self.lines("request", **match)

    def wait(self, event: str, count: int = 1, seconds: float = 20.0, **match: object) -> list[dict]:
        """The matching lines, once there are `count` of them."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.lines(event, **match)
            if len(found) >= count:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(found)} of {count} lines {event} {match} after {seconds} s")
            time.sleep(0.02)

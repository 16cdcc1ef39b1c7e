"""Reads attempts out of the embedded ledger while Weir runs."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

SUSPECT, UNREADABLE, TERMINAL, QUARANTINED, ZERO = 2, 4, 8, 128, 512


class Row(dict):
    """One attempt, columns by name, money in pico-dollars; `tokens` are its usage kinds that are not 0."""

    __getattr__ = dict.__getitem__

    @property
    def tokens(self) -> dict[str, int]:
        return {kind: self[kind] for kind in KINDS if self.get(kind)}


KINDS = [
    "input", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio", "input_audio_cached",
    "input_image", "input_video", "output", "reasoning", "output_audio", "output_image",
    "requests", "searches",
]


def _row(found: sqlite3.Row) -> Row:
    row = Row(dict(found))
    return Row(row | {"cost": row["cost_pico"], "charge": row["charge_pico"]})


class Ledger:
    """The table `attempt`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, **match: object) -> list[Row]:
        """Rows with these column values, in the order of their numbers."""
        if not self.path.exists():
            return []
        where = " and ".join(f'"{column}" = ?' for column in match) or "1"
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)) as base:
            base.row_factory = sqlite3.Row
            query = f"select * from attempt where {where} order by epoch, seq"
            try:
                return [_row(row) for row in base.execute(query, list(match.values()))]
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def wait(self, count: int, seconds: float = 20.0, **match: object) -> list[Row]:
        """Exactly `count` matching rows, once they are there."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.rows(**match)
            if len(found) >= count or time.monotonic() > deadline:
                shown = [(row["attempt"], row["provider"], row["outcome"]) for row in found]
                assert len(found) == count, f"{len(found)} rows, not {count}, for {match}: {shown}"
                return found
            time.sleep(0.02)

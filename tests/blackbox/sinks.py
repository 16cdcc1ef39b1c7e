"""What the tests of several sinks share: servers, and how to tell that all have the same rows."""

from __future__ import annotations

import json
import time

import pytest
from load import Load
from postgres import HOMES, Postgres
from weir import Weir

needs_postgres = pytest.mark.skipif(not HOMES, reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def server():
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture
def postgres(server):
    """The server without any of Weir's tables."""
    server.stop()
    server.start()
    server.ask("drop schema if exists weir cascade")
    return server


def drained(weir: Weir, seconds: float = 90) -> None:
    """Waits until every sink has every row."""
    deadline = time.monotonic() + seconds
    while (left := weir.metric("slots_used") + weir.metric("spool_rows")) > 0:
        assert time.monotonic() < deadline, f"{left} rows are not delivered: {weir.log.read_text()[-1500:]}"
        time.sleep(0.05)


def load(weir: Weir, seconds: float, seed: int = 1) -> None:
    with Load(weir, seed):
        time.sleep(seconds)


def same(weir: Weir, postgres: Postgres) -> int:
    """The rows of both sinks, compared cell by cell; how many there are."""
    here = weir.ledger.rows()
    there = [json.loads(row) for (row,) in postgres.ask("select to_json(a) from weir.attempt a order by epoch, seq")]
    assert len(here) == len(there)
    for one, other in zip(here, there):
        for name, value in other.items():
            mine = one[name]
            mine = "\\x" + mine.hex() if isinstance(mine, bytes) else mine
            assert mine == value, (name, mine, value)
    return len(here)

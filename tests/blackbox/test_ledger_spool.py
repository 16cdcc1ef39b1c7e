"""A spool whose files somebody removes or cuts while Weir runs: what is gone is counted, and delivery goes on (F65)."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from sinks import drained


def state(weir) -> Path:
    return weir.directory / "state"


def spool(weir) -> list[Path]:
    """Files of the spool that hold rows, oldest first."""
    return [path for path in sorted(state(weir).glob("spool-*.log")) if path.stat().st_size > 100]


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def test_F65_files_of_the_spool_taken_from_a_running_weir_are_counted_and_hold_up_nothing(run):
    weir = run("a")
    for _ in range(5):
        weir.ask()
    weir.ledger.wait(5)
    asked = 5
    with closing(sqlite3.connect(weir.ledger.path, isolation_level=None)) as hand:
        hand.execute("begin exclusive")
        for killed in (True, True, False):
            for _ in range(20):
                assert weir.ask().status == 200
            asked += 20
            weir.settles(0, "slots_used")
            if killed:
                weir.kill()
                weir.launch()
        weir.settles(1, "sinks_refusing")
        removed, halved, live = spool(weir)
        removed.unlink()
        cut(halved)
        cut(live)
        for _ in range(5):
            assert weir.ask().status == 200
        asked += 5
        hand.execute("rollback")
    after = [weir.ask(stream=stream) for stream in (True, False)]
    for answer in after:
        answer.rows(1)
    drained(weir)
    weir.lost = asked + len(after) - len(weir.ledger.rows())
    assert weir.lost >= 10, "half a file at least"
    assert weir.metric("ledger_lost_total") == weir.lost
    noted = [json.loads(line) for line in (state(weir) / "losses.jsonl").read_text().splitlines()]
    assert sum(loss["rows"] for loss in noted) == weir.lost
    assert {loss["sink"] for loss in noted} == {"sqlite"}
    log = weir.log.read_text()
    assert "removed, shortened or changed" in log and "rows of or before a spool segment are lost" in log

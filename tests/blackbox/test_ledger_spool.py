"""A spool whose files somebody removes or cuts while Weir runs: what is gone is counted, and delivery goes on (F65)."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from sinks import drained
from test_ledger_commands import weir_says


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


def test_F65_a_segment_of_another_node_is_offered_by_hand_to_the_database_it_is_missing_from(run):
    weir, other = run("a"), run("b")
    weir.ask().rows(1)
    with closing(sqlite3.connect(weir.ledger.path, isolation_level=None)) as hand:
        hand.execute("begin exclusive")
        for _ in range(5):
            weir.ask()
        weir.settles(0, "slots_used")
        weir.kill()
        hand.execute("rollback")
    (segment,) = spool(weir)
    other.kill()
    segment.rename(state(other) / segment.name)
    other.launch()
    other.logged("`weir ledger redeliver --segment` offers its rows to a database")
    aside = state(other) / f"{segment.name}.bad"
    weir.launch()
    weir.ask().rows(1)
    weir.lost = 5
    assert len(weir.ledger.rows()) == 2
    for first, second in ((5, 1), (0, 6)):
        done = weir_says("ledger", "redeliver", "--segment", aside, "--conf", weir.conf)
        assert done.returncode == 0 and done.stdout.startswith(f"{first} rows, {second} known already"), done.stdout + done.stderr
    assert len(weir.ledger.rows()) == 7
    done = weir_says("ledger", "redeliver", "--segment", weir.conf / "weir.toml", "--conf", weir.conf)
    assert done.returncode == 1 and "weir.toml: it is no segment of the spool" in done.stderr, done.stderr


def test_F65_a_database_that_is_removed_while_weir_runs_is_noticed(run):
    weir = run("a")
    for _ in range(5):
        weir.ask()
    weir.ledger.wait(5)
    for file in state(weir).glob("ledger.sqlite*"):
        file.unlink()
    for _ in range(5):
        weir.ask()
    weir.logged("the database was removed or replaced while it was open")
    assert len(weir.ledger.wait(10)) == 10, "the spool still had them"
    # What counts rows once a start knows nothing of the first five.
    weir.stop()
    weir.launch()


def test_a_sink_that_is_no_longer_configured_though_rows_wait_is_told(run, tmp_path):
    weir = run("a", settings={"ledger": {"jsonl": {"directory": str(tmp_path / "lines")}}})
    weir.ask()
    drained(weir)
    settings = weir.conf / "weir.toml"
    text = settings.read_text()
    without = "\n".join(line for line in text.splitlines() if "jsonl" not in line)
    weir.stop()
    settings.write_text(without)
    weir.launch()
    assert "no longer configured" not in weir.log.read_text(), "nothing waits"
    weir.stop()
    settings.write_text(text)
    weir.launch()
    with closing(sqlite3.connect(weir.ledger.path, isolation_level=None)) as hand:
        hand.execute("begin exclusive")
        weir.ask()
        weir.settles(0, "slots_used")
        weir.kill()
        hand.execute("rollback")
    settings.write_text(without)
    weir.launch()
    assert 'sink="jsonl" rows=1' in weir.logged("this sink is no longer configured")


def test_one_process_writes_a_directory_of_json_lines_and_the_next_takes_over(run, tmp_path):
    settings = {"ledger": {"jsonl": {"directory": str(tmp_path / "lines"), "rotate": "8KiB"}}}
    first = run("a", settings=settings)
    first.ask()
    drained(first)
    second = run("b", settings=settings)
    for weir in (second, first) * 3:
        weir.ask()
    second.logged("another process writes there: give each its own")
    drained(first)
    first.stop()
    drained(second)
    lines = "".join(file.read_text() for file in (tmp_path / "lines").glob("attempts-*.jsonl")).splitlines()
    keys = [(row["node"], row["epoch"], row["seq"]) for row in map(json.loads, lines)]
    assert len(keys) == len(set(keys)) == 7

"""Durability modes and a disk that fails: what a caller saw complete, and what Weir does then (F63)."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from ledger import TERMINAL
from weir import Answer, Weir

CRASH_RECOVERED = 1

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/api/v1/chat/completions", "/v1/chat/completions"])
def test_strict_has_the_row_before_the_caller_has_the_end(run, stream, path):
    weir = run("a", settings={"ledger": {"durability": "strict"}})
    answers = []
    for _ in range(5):
        answers.append(weir.ask(stream=stream, path=path))
        assert answers[-1].status == 200
        weir.kill()
        weir.launch()
    for answer in answers:
        (row,) = answer.rows(1)
        assert (row["outcome"], row["source"], row["flags"]) == ("ok", "reported", TERMINAL), dict(row)


def test_the_last_bytes_do_not_wait_where_durability_is_not_strict(run):
    for durability in ("crash-safe", "relaxed"):
        weir = run("a", settings={"ledger": {"durability": durability}})
        answer = weir.ask()
        weir.kill()
        weir.launch()
        (row,) = answer.rows(1)
        assert (row["outcome"], row["source"]) == ("ok", "reported")


@pytest.fixture
def failing(request):
    """Makes every sync of this Weir's flusher fail from now on."""
    started: list[subprocess.Popen] = []

    def fail(weir: Weir) -> None:
        weir.settles(0, "slots_used")
        # The last save of slots follows within its window; the next sync is to be the test's own.
        time.sleep(0.3)
        task = f"/proc/{weir.process.pid}/task"
        names = {tid.name: (tid / "comm").read_text().strip() for tid in Path(task).iterdir()}
        tid = next(tid for tid, name in names.items() if name == "weir-flush")
        strace = subprocess.Popen(
            ["strace", "-qq", "-o", "/dev/null", "-p", tid, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"],
            stderr=subprocess.PIPE, text=True,
        )
        started.append(strace)
        deadline = time.monotonic() + 5
        while "TracerPid:\t0" in open(f"{task}/{tid}/status").read():
            if strace.poll() is not None:
                pytest.skip(f"strace may not attach: {strace.stderr.read()}")
            assert time.monotonic() < deadline, "strace does not attach"
            time.sleep(0.01)

    yield fail
    for strace in started:
        strace.terminate()
        strace.wait()
        strace.stderr.close()


def until_refused(weir: Weir) -> list[Answer]:
    """Answers that still came before nobody was admitted any more."""
    answers = []
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            answers.append(weir.ask())
        except OSError:
            return answers  # it has ended already
        if answers[-1].status != 200:
            assert answers[-1].status in (503, 0), answers[-1].status
            return answers[:-1]
    raise AssertionError(f"{len(answers)} answers after the failure")


@needs_strace
@pytest.mark.parametrize("durability", ["strict", "crash-safe"])
def test_F63_a_failed_sync_admits_nobody_loses_nothing_and_ends_the_process(run, failing, durability):
    weir = run("a", settings={"ledger": {"durability": durability}})
    before = weir.ask()
    failing(weir)
    answer = weir.ask()
    seen_whole = b"data: [DONE]" in answer.body
    assert seen_whole == (durability != "strict"), "an end that is not on record"
    answered = [before, answer, *until_refused(weir)]
    assert weir.process.wait(timeout=20) == 1
    log = weir.log.read_text()
    assert "the spool cannot be written" in log and "the spool has failed" in log
    weir.launch()
    for kept in answered:
        (row,) = kept.rows(1)
        assert row["source"] == "reported" and row["flags"] & TERMINAL, dict(row)


@needs_strace
def test_F63_a_readiness_probe_and_metrics_say_that_the_spool_has_failed(run, failing):
    weir = run("a", a={"first_content": "9s", "idle": "9s"})
    failing(weir)
    # An answer under way keeps the drain waiting, so that there is time to look.
    with weir.asking({"*": {"pace": 0.2, "text": ["word "] * 45}}):
        weir.ask()
        deadline = time.monotonic() + 5
        while weir.metric("spool_io_errors_total") != 1:
            assert time.monotonic() < deadline, "the failure is not counted"
            time.sleep(0.02)
        assert weir.metric("spool_alarm") == 1 and not weir.is_ready()
    assert weir.process.wait(timeout=20) == 1


@pytest.fixture
def read_only(tmp_path):
    """A directory that no user, not even root, can write once it is `protected`."""
    place = tmp_path / "ledger"
    place.mkdir()

    def mount(*options: str) -> bool:
        return subprocess.run(["mount", *options, place, place], capture_output=True).returncode == 0

    if not mount("--bind"):
        pytest.skip("nothing can be mounted here")
    yield place, lambda: mount("-o", "remount,bind,ro"), lambda: mount("-o", "remount,bind,rw")
    subprocess.run(["umount", "-l", place], capture_output=True)


def test_F71_rows_wait_for_a_database_that_cannot_be_written(run, read_only):
    place, protect, free = read_only
    weir = run("a", settings={"ledger": {"sqlite": str(place / "ledger.sqlite")}})
    weir.ledger.path = place / "ledger.sqlite"
    weir.ask().rows(1)
    weir.stop()
    assert protect()
    weir.launch()
    weir.ledger.path = place / "ledger.sqlite"
    assert [weir.ask().status for _ in range(3)] == [200] * 3
    weir.settles(3, "spool_rows")
    weir.settles(1, "sinks_refusing")
    weir.logged("let Weir's user write the file and its directory")
    assert free()
    assert len(weir.ledger.wait(4)) == 4
    weir.settles(0, "sinks_refusing")

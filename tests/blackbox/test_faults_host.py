"""Names that fail or move (F03, F04), a process that is stopped (F78), a clock that jumps (F79)."""

import signal
import time

import conf
import expect
import pytest
from host import Host


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def named(run, host, chaos, models="a", **extra):
    base = f"http://upstream.test:{chaos.port}/s/a/v1"
    return run(models, environment=host.environment, a={"base_url": base, "extra": extra})


def look_up(weir, count: int) -> None:
    """A reload looks every host up before it counts."""
    weir.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 9
    while weir.metric("reload_total", result="applied") < count:
        assert time.monotonic() < deadline, "the reload does not end"
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["nxdomain", "servfail", "empty", "hang"])
def test_F03_a_lookup_that_fails_keeps_the_last_good_addresses(run, host, chaos, how):
    host.names(upstream="127.0.0.1")
    weir = named(run, host, chaos)
    expect.whole(weir.ask())
    weir.settles(0, "lookups_stale")
    host.names(upstream=f"!{how}")
    weir.process.send_signal(signal.SIGHUP)
    for _ in range(3):
        answer = weir.ask()
        expect.whole(answer)
        assert answer.ended_at < 2, "no request waits for a name"
        expect.row(answer.rows(1)[0], "a", "ok", "reported")
    deadline = time.monotonic() + 9
    while weir.metric("lookups_stale") != 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert weir.metric("lookup_errors_total") >= 1
    expect.whole(weir.ask())
    host.names(upstream="127.0.0.1")
    look_up(weir, 2)
    weir.settles(0, "lookups_stale")


def test_F03_a_name_unknown_at_the_start_serves_once_it_is_known(run, host, chaos):
    weir = named(run, host, chaos)
    answer = weir.ask()
    error = expect.refused(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1, error
    answer.rows(0)
    host.names(upstream="127.0.0.1")
    look_up(weir, 1)
    expect.whole(weir.ask())


PUBLIC = "198.41.0.4"  # never connected to: host.c refuses everything but loopback


@pytest.mark.parametrize("inside", ["127.0.0.1", "169.254.169.254", "10.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_F04_a_name_that_means_the_inside_is_not_connected_to(run, host, chaos, inside):
    host.names(upstream=inside)
    weir = named(run, host, chaos, private_addresses=False, keyless=True)
    answer = weir.ask()
    expect.refused(answer, 503)
    assert answer.seen() == [], "the provider's key went there"
    answer.rows(0)
    weir.settles(1, "addresses_refused_total")


def test_F04_a_name_that_moves_inside_keeps_its_last_public_address(run, host, chaos):
    host.names(upstream=PUBLIC)
    weir = named(run, host, chaos, "ab", private_addresses=False, keyless=True)
    host.names(upstream="127.0.0.1 10.0.0.1 169.254.169.254")
    look_up(weir, 1)
    weir.settles(3, "addresses_refused_total")
    weir.settles(1, "lookups_stale")
    answer = weir.ask()
    expect.whole(answer)
    assert answer.seen("a") == [], "the provider's key went there"
    expect.row(answer.rows(1)[0], "b", "ok", "reported")
    weir.settles(1, "attempts_total", provider="a", outcome="refused")


def test_F04_of_mixed_addresses_only_public_ones_are_taken(run, host, chaos):
    host.names(upstream=f"127.0.0.1 {PUBLIC}")
    weir = named(run, host, chaos, "ab", private_addresses=False, keyless=True)
    for _ in range(4):
        answer = weir.ask()
        expect.whole(answer)
        assert answer.seen("a") == []
    weir.settles(1, "addresses_refused_total")


STOPPED = 4.0


@pytest.mark.parametrize("before_content", [False, True])
def test_F78_a_stopped_process_blames_no_upstream(run, before_content):
    """Every clock has run out when it wakes up; what came meanwhile shows that nobody was late."""
    weir = run("a", a=conf.BRISK | {"total": "60s", "first_content": "2s"})
    step = {"text": ["word "] * 40, "pace": 0.1, "first_delay": 0.5 if before_content else 0.0}
    opened = [weir.asking({"a": step}) for _ in range(8)]
    streams = [manager.__enter__() for manager in opened]
    for id, raw in streams:
        if before_content:
            weir.chaos.truth.wait("request", id=id)
        else:
            raw.read_until(b"word")
    weir.process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED)
    weir.process.send_signal(signal.SIGCONT)
    for id, raw in streams:
        expect.whole(raw.read(), "word " * 40)
        expect.row(weir.rows(id, 1)[0], "a", "ok", "reported")
    for manager in opened:
        manager.__exit__(None, None, None)
    assert weir.metric("stalls_total") >= 1
    weir.settles(0, "ejections_total")
    weir.settles(1, "endpoints", provider="a", state="available")


def test_F78_after_a_stop_a_silent_upstream_is_still_left(run):
    weir = run("a", a=conf.BRISK | {"total": "60s"})
    with weir.asking({"a": {"cut": {"event": 2, "how": "stall"}}}) as (id, raw):
        raw.read_until(b"lo")
        weir.process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED)
        weir.process.send_signal(signal.SIGCONT)
        awake = time.monotonic()
        expect.cut(raw.read(), (502, 504), "Hello")
        assert time.monotonic() - awake < 3
    expect.row(weir.rows(id, 1)[0], "a", "idle_timeout", "estimated")


CLOCK_JUMP = 16
JUMPS = {"an hour on": 3_600, "an hour back": -3_600, "a year on": 31_536_000, "a year back": -31_536_000}


@pytest.mark.parametrize("name", JUMPS)
def test_F79_a_jump_of_the_clock_cuts_nothing_and_is_flagged(run, host, name):
    weir = run("a", environment=host.environment)
    with weir.asking({"a": {"text": ["word "] * 10, "pace": 0.1}}) as (id, raw):
        raw.read_until(b"word")
        host.clock(JUMPS[name])
        expect.whole(raw.read(), "word " * 10)
    (row,) = weir.rows(id, 1)
    expect.row(row, "a", "ok", "reported")
    assert row["flags"] & CLOCK_JUMP, "billed by start and duration"
    assert 500_000 < row["duration_us"] < 10_000_000, "durations are monotonic"
    ids = {answer.headers["x-generation-id"] for answer in (weir.ask() for _ in range(5))}
    host.clock(0)
    ids |= {answer.headers["x-generation-id"] for answer in (weir.ask() for _ in range(5))}
    assert len(ids) == 10
    rows = weir.ledger.wait(11)
    # The last answer's record may be under way when the clock comes back.
    assert sum(bool(row["flags"] & CLOCK_JUMP) for row in rows) in (1, 2)
    assert [row["outcome"] for row in rows] == ["ok"] * 11
    assert weir.get_admin("/readyz")


def test_F79_a_cooldown_does_not_end_with_a_jump(run, host):
    weir = run("ab", environment=host.environment)
    expect.whole(weir.ask({"a": {"status": 429, "headers": [["retry-after", "60"]]}}))
    for seconds in (31_536_000, -31_536_000):
        host.clock(seconds)
        answer = weir.ask()
        expect.whole(answer)
        assert answer.seen("a") == []

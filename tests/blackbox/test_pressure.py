"""Something runs out: Weir sheds, says so, recovers, and operators are answered all the while."""

from __future__ import annotations

import contextlib
import os
import shutil
import time

import expect
import pytest
from client import head
from confine import busy_seconds, cgroup, controller, disk, network, root
from h2client import H2Caller
from test_edges import closed, served
from upstream import Upstream
from weir import request

PATH = "/v1/chat/completions"
PLENTY = {"limits": {"connections": 1000, "connections_per_address": 1000, "requests": 1000}}


def operators(weir, times: int = 5) -> None:
    """They are answered, every time and soon."""
    for _ in range(times):
        began = time.monotonic()
        assert weir.get_admin("/healthz") == "alive\n"
        assert "weir_build_info" in weir.get_admin("/metrics")
        assert time.monotonic() - began < 2


def recovers(weir, seconds: float = 5) -> None:
    """It serves again, before long."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = weir.ask(stream=False, timeout=2)
            if answer.status == 200 and answer.ended == "clean":
                break
        except OSError:
            pass
        assert time.monotonic() < deadline, "it does not recover"
        time.sleep(0.05)
    assert weir.is_ready()


def again(weir, prefix: list[str]) -> None:
    """Starts it anew under these limits."""
    weir.stop()
    weir.prefix = prefix
    weir.launch()


# File descriptors (F77, F60, P7)


def test_F77_out_of_descriptors(run):
    weir = run("a", PLENTY)
    again(weir, ["prlimit", "--nofile=90:90"])
    with weir.connect() as kept, contextlib.ExitStack() as stack:
        served(kept, weir)
        for _ in range(150):
            stack.enter_context(weir.connect())
        weir.logged("connections cannot be accepted")
        operators(weir)
        before = busy_seconds(weir.process.pid)
        time.sleep(1)
        assert busy_seconds(weir.process.pid) - before < 0.4, "it spins"
        operators(weir)
        assert weir.metric("accept_errors_total") > 5
        served(kept, weir)  # over the pooled connection
    recovers(weir)
    assert weir.log.read_text().count("connections cannot be accepted") <= 2


def test_F77_a_request_that_finds_no_descriptor_is_refused_politely(run):
    """Connections stood before; there is none for the upstream. One that Weir gives back may serve one of them."""
    weir = run("a", PLENTY)
    again(weir, ["prlimit", "--nofile=90:90"])
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(weir.connect()) for _ in range(8)]
        time.sleep(0.2)
        for _ in range(150):
            stack.enter_context(weir.connect())
        weir.logged("connections cannot be accepted")
        body = weir.body({"a": {"head_delay": 1}}, stream=False)[1]
        whole = head("POST", PATH, [("host", "w"), weir.bearer, ("content-length", str(len(body)))]) + body
        for raw in kept:
            raw.send(whole)
        replies = [raw.read() for raw in kept]
        assert {reply.status for reply in replies} <= {200, 502, 503}
        refused = [reply for reply in replies if reply.status != 200]
        assert refused, "all were served"
        assert all(reply.json()["error"]["code"] == reply.status for reply in refused)
        operators(weir)
    recovers(weir)
    weir.settles(0, "in_flight")


@root
def test_F77_P7_the_host_is_out_of_descriptors(run):
    """Pingora's own loop would try again at once, and log each time."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    weir = run("a")
    trace = ["strace", "-D", "-f", "-qq", "-o", os.devnull, "-e", "trace=accept4"]
    began = time.monotonic()
    again(weir, [*trace, "-e", "inject=accept4:error=ENFILE:when=1..60"])
    assert time.monotonic() - began > 2, "it does not wait between two tries"
    recovers(weir)
    assert weir.metric("accept_errors_total") >= 100
    assert weir.log.read_text().count("connections cannot be accepted") <= 4


def test_F60_a_flood_of_connections_leaves_operators_and_good_callers_alone(run):
    weir = run("a", {"limits": {"connections": 300, "connections_per_address": 200}})
    with weir.connect() as good, contextlib.ExitStack() as stack:
        served(good, weir)
        for number in range(600):
            raw = stack.enter_context(weir.connect())
            if number % 3 == 0:
                raw.send(b"POST /v1/")
            if number % 100 == 0:
                served(good, weir)
        operators(weir)
        served(good, weir)
        assert weir.metric("conn_refused_total", cap="address") >= 390
    recovers(weir)


# Memory (F76)


@controller("memory")
@pytest.mark.parametrize("bound", [{"buffered_bytes": "48MiB"}, {}], ids=["as configured", "as the group allows"])
def test_F76_bodies_are_shed_before_memory_runs_out(run, bound):
    """40 callers send 8 MiB each, twice what the process may have in all."""
    weir = run("a", {"limits": {"body_bytes": "16MiB", "body_timeout": "20s"} | bound})
    with cgroup("memory", limit_in_bytes=160 << 20) as (place, prefix):
        again(weir, prefix)
        large = b" " * (8 << 20)
        with contextlib.ExitStack() as stack:
            callers = []
            for _ in range(40):
                raw = stack.enter_context(weir.connect(20))
                raw.send(head("POST", PATH, [("host", "w"), weir.bearer, ("content-length", str(len(large)))]))
                callers.append(raw)
            for raw in callers:
                raw.send(large[:-1])
                operators(weir, 1)
            shed = weir.metric("body_shed_total") + weir.metric("requests_shed_total", cap="memory")
            assert shed >= 30, shed
            assert weir.running(), "it was killed"
            for raw in callers:
                raw.send(large[-1:])
            statuses = [raw.read().status for raw in callers]
        assert statuses.count(503) == shed and set(statuses) <= {503, 400}, statuses
        recovers(weir, 15)
        assert "oom_kill 0" in (place / "memory.oom_control").read_text()
        weir.stop()


@controller("memory")
def test_F76_streams_are_shed_before_the_control_group_is_full(run):
    """Many more open streams than fit; those that were begun go on to their end."""
    limits = {"connections": 9_000, "connections_per_address": 9_000}
    weir = run("a", {"limits": limits}, a={"connect": "9s", "first_content": "20s", "idle": "20s", "total": "60s"})
    with cgroup("memory", limit_in_bytes=100 << 20) as (place, prefix):
        again(weir, prefix)
        with contextlib.ExitStack() as stack:
            begun, refused = [], 0
            while refused < 20:
                assert len(begun) < 4_000, "nothing is shed"
                raw = stack.enter_context(weir.connect(20))
                _, body = weir.body({"a": {"text": ["word "] * 10, "pace": 1.0, "first_delay": -1.0}}, stream=True)
                raw.send(request(PATH, [weir.bearer], body))
                raw.read_until(b"\r\n\r\n")
                if raw.buffer.startswith(b"HTTP/1.1 200"):
                    begun.append(raw)
                    continue
                reply = raw.read()
                assert reply.status == 503 and reply.headers["retry-after"] == "1", reply
                refused += 1
            operators(weir)
            assert weir.metric("requests_shed_total", cap="memory") == refused
            weir.logged("memory runs out")
            assert all(raw.read().done for raw in begun)
        recovers(weir, 15)
        weir.logged("memory suffices again")
        assert "oom_kill 0" in (place / "memory.oom_control").read_text()
        weir.stop()


def squeeze(weir, place, share: float, level: str) -> None:
    """Brings the group's limit down to where what is used is this share of it."""
    deadline = time.monotonic() + 10
    while f"level={level}" not in weir.log.read_text():
        assert time.monotonic() < deadline, f"it is not {level}"
        (place / "memory.limit_in_bytes").write_text(str(int(weir.metric("memory_used_bytes") / share)))
        time.sleep(0.2)


@controller("memory")
def test_F76_each_level_begins_and_ends_with_the_limit(run):
    """The group's limit comes down to what is used already, and goes up again."""
    weir = run("a")
    with cgroup("memory", limit_in_bytes=400 << 20) as (place, prefix):
        again(weir, prefix)
        with weir.connect() as kept:
            served(kept, weir)
            squeeze(weir, place, 0.90, "Shedding")
            reply = kept.ask("POST", PATH, [weir.bearer], weir.body(stream=False)[1])
            assert (reply.status, reply.headers["retry-after"], reply.headers["connection"]) == (503, "1", "close")
        squeeze(weir, place, 0.97, "Closing")
        with weir.connect() as raw:
            assert closed(raw, 5) is not None
        assert weir.metric("conn_refused_total", cap="memory") == 1
        assert weir.metric("requests_shed_total", cap="memory") == 1
        operators(weir)
        (place / "memory.limit_in_bytes").write_text(str(400 << 20))
        weir.logged("memory suffices again")
        expect.whole(weir.ask())
        weir.stop()


# Disk (F62)


@root
def test_F62_a_full_disk_is_said_and_shed(run):
    weir = run("a", {"ledger": {"slots": 64}})
    weir.stop()
    with disk(weir.directory / "small", 64 << 20) as place:
        settings = weir.conf / "weir.toml"
        state = str(weir.directory / "state")
        settings.write_text(settings.read_text().replace(state, str(place)))
        weir.launch()
        expect.whole(weir.ask())
        with open(place / "filler", "wb") as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(1 << 16))
                filler.flush()
        asked = [weir.ask(stream=False).status for _ in range(100)]
        operators(weir)
        assert set(asked) <= {200, 503}, asked
        (place / "filler").unlink()
        weir.stop()


# Threads (F80)


@controller("pids")
@pytest.mark.parametrize("most", [1, 3, 12])
def test_F80_too_few_threads_at_the_start_is_an_error_that_says_so(run, most):
    weir = run("a")
    weir.stop()
    with cgroup("pids", max=most) as (_, prefix):
        weir.prefix = prefix
        before = len(weir.log.read_text())
        weir.launch(wait=False)
        code = weir.process.wait(timeout=15)
    said = weir.log.read_text()[before:]
    assert code == 1 and "panic" not in said, (code, said)
    expected = "the log's thread did not start" if most == 1 else "the process may not have the"
    assert expected in said, said


@controller("pids")
def test_F80_no_thread_left_later(run):
    weir = run("a")
    with cgroup("pids", max=1000) as (place, prefix):
        again(weir, prefix)
        (place / "pids.max").write_text((place / "pids.current").read_text())
        answer = weir.ask(stream=False)
        expect.whole(answer)
        with weir.connect() as raw:
            id = answer.json()["id"]
            reply = raw.ask("GET", f"/api/v1/generation?id={id}", [weir.bearer])
        operators(weir)
        (place / "pids.max").write_text("1000")
        assert reply.status == 200, reply.status
        assert weir.metric("panics_total") == 0
        recovers(weir)
        weir.stop()


# Ports (F11)


@root
def test_F11_local_ports_are_exhausted(run, tmp_path):
    """Sixteen ports, one caller on one connection, and more streams than that at once."""
    with network(ports=16):
        upstream = Upstream(tmp_path / "chaos")
        try:
            base = {"base_url": f"http://127.0.0.1:{upstream.port}/s/a/v1"}
            weir = run("a", {"listener": {"h2c": True}}, a=base | {"first_content": "9s"})
            weir.chaos = upstream
            with H2Caller(weir.port) as caller:
                for _ in range(30):
                    caller.post(PATH, [weir.bearer], weir.body({"a": {"head_delay": 2}}, stream=False)[1])
                    caller.flush()
                time.sleep(0.5)
                operators(weir, 2)
                while len(caller.ended) < 30:
                    caller.read()
            statuses = sorted(caller.status.values())
            assert 10 <= statuses.count(200) <= 16 and set(statuses) <= {200, 502, 503}, statuses
            weir.settles(0, "in_flight")
            recovers(weir)
            weir.stop()
        finally:
            upstream.stop()

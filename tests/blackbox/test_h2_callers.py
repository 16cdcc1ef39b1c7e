"""Callers on HTTP/2: many streams, one connection, and each of them may leave or stall alone."""

import json
import re
import signal
import time

import expect
import h2.settings
import pytest
from h2client import H2Caller
from test_faults_caller import upstream_closed

H2C = {"listener": {"h2c": True}}


def ask(weir, caller: H2Caller, roles: dict, path: str) -> tuple[str, int]:
    id, body = weir.body(roles, stream=True)
    return id, caller.post(path, [weir.bearer], body)


def text(body: bytes) -> str:
    data = [line[6:] for line in body.decode().split("\n") if line.startswith("data: {")]
    deltas = [choice["delta"] for line in data for choice in json.loads(line)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_streams_of_one_connection_do_not_mix_or_wait_for_each_other(run, path):
    weir = run("ab", H2C)
    with H2Caller(weir.port) as caller:
        asked = {}
        for n in range(20):
            step = {"do": "reset"} if n % 5 == 4 else {"text": [f"mark{n} "] * 5, "pace": 0.05}
            fallback = {"text": [f"mark{n} "] * 5}
            id, stream = ask(weir, caller, {"a": step, "b": fallback}, path)
            asked[stream] = (n, id)
        began = time.monotonic()
        while len(caller.ended) < len(asked):
            caller.read()
    assert time.monotonic() - began < 4, "one after the other"
    for stream, (n, _) in asked.items():
        assert caller.status[stream] == 200 and caller.ended[stream] == "end"
        assert text(caller.body[stream]) == f"mark{n} " * 5
        assert caller.body[stream].endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("path", expect.BOTH_FACES)
@pytest.mark.parametrize("leave", ["stream", "connection"])
def test_F43_leaving_in_mid_stream_cancels_the_upstream(run, path, leave):
    weir = run("a", H2C)
    with H2Caller(weir.port) as caller:
        id, stream = ask(weir, caller, {"a": {"text": ["word "] * 40, "pace": 0.1}}, path)
        caller.until(stream, b"word")
        left = time.time()
        if leave == "stream":
            caller.reset(stream)
        else:
            caller.sock.close()
        upstream_closed(weir, id, left)
    (row,) = weir.rows(id, 1)
    expect.row(row, "a", "client_abort", "estimated")
    assert row["committed"] and row["output"] >= 1
    weir.settles(1, "client_abort_total", phase="after_content")
    weir.settles(0, "in_flight")


def test_F42_leaving_before_the_head_cancels_the_upstream(run):
    weir = run("ab", H2C, a={"first_content": "9s"})
    with H2Caller(weir.port) as caller:
        id, stream = ask(weir, caller, {"a": {"head_delay": 8}}, "/v1/chat/completions")
        weir.chaos.truth.wait("request", id=id)
        left = time.time()
        caller.reset(stream)
        upstream_closed(weir, id, left)
    (row,) = weir.rows(id, 1)
    assert (row["outcome"], row["charge"], row["output"]) == ("client_abort", 0, 0)
    assert weir.chaos.truth.requests(id, "b") == []


@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_P3_a_stream_whose_window_stays_full_is_let_go(run, path):
    """Its upstream slot is given back, and the connection's other streams go on."""
    weir = run("a", H2C | {"limits": {"write_timeout": "1s", "min_send_rate": "0B"}},
               a={"total": "60s", "idle": "60s", "first_content": "9s"})
    with H2Caller(weir.port) as caller:
        caller.conn.increment_flow_control_window(1 << 24)
        id, stream = ask(weir, caller, {"a": {"text": ["x" * 30_000] * 40}}, path)
        while len(caller.body[stream]) < 60_000:
            caller.read(take=False)
        (row,) = weir.ledger.wait(1, seconds=8, session=id)
    assert (row["outcome"], row["committed"]) == ("client_abort", 1), dict(row)
    weir.settles(0, "in_flight")


def test_sigterm_cuts_no_stream_of_a_connection(run):
    weir = run("a", H2C | {"drain": "20s"}, a={"first_content": "9s", "idle": "9s"})
    with H2Caller(weir.port) as caller:
        step = {"a": {"text": ["word "] * 20, "pace": 0.1}}
        asked = [ask(weir, caller, step, expect.BOTH_FACES[n % 2]) for n in range(50)]
        for _, stream in asked:
            caller.until(stream, b"word")
        weir.process.send_signal(signal.SIGTERM)
        while len(caller.ended) < len(asked) and not caller.gone:
            caller.read()
    for id, stream in asked:
        assert caller.ended.get(stream) == "end" and text(caller.body[stream]) == "word " * 20
        expect.row(weir.rows(id, 1)[0], "a", "ok", "reported")
    assert weir.process.wait(timeout=10) == 0


@pytest.mark.parametrize("window", [65_535, 1 << 24])
@pytest.mark.parametrize("room", [0, 4_096], ids=["kernel", "weir"])
def test_F75_sigterm_waits_for_a_caller_that_takes_its_time(run, window, room):
    """Whether what it has not taken yet waits in its own socket or in Weir's, and for room or for windows."""
    weir = run("a", H2C | {"drain": "30s"}, a={"first_content": "9s", "idle": "9s"})
    with H2Caller(weir.port, room=room) as caller:
        caller.conn.increment_flow_control_window(window)
        caller.conn.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        id, stream = ask(weir, caller, {"a": {"text": ["x" * 5_000] * 40}}, "/v1/chat/completions")
        caller.until(stream, b"x")
        weir.process.send_signal(signal.SIGTERM)
        while stream not in caller.ended and not caller.gone:
            time.sleep(0.1)
            caller.read(most=7_000)
        assert caller.ended.get(stream) == "end" and text(caller.body[stream]) == "x" * 200_000
        while not caller.gone:
            caller.read()
    assert weir.process.wait(timeout=20) == 0
    expect.row(weir.rows(id, 1)[0], "a", "ok", "reported")


def test_idle_connections_do_not_delay_the_end(run):
    """Though none of them says or reads anything."""
    weir = run("a", H2C | {"drain": "30s"})
    with H2Caller(weir.port) as never_asked, weir.connect() as kept:
        never_asked.flush()
        _, body = weir.body(stream=False)
        assert kept.ask("POST", "/v1/chat/completions", [weir.bearer], body).status == 200
        weir.process.send_signal(signal.SIGTERM)
        assert weir.process.wait(timeout=20) == 0
    took = re.search(r"drained.* took=([0-9.]+)(m?s)", weir.logged("drained"))
    assert float(took[1]) * (1 if took[2] == "s" else 0.001) < 5, took[0]

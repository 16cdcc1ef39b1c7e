"""HTTP/2 abuse (F59; P4, P5; S8, S10): the attacker is cut or bounded, and nobody else notices."""

from __future__ import annotations

import struct
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import expect
import h2attack
import pytest
from h2attack import INITIAL_WINDOW_SIZE, Wire, attacks, assault
from h2client import H2Caller
from test_listeners import install, trusting

PATH = "/v1/chat/completions"
H2C = {"listener": {"h2c": True}}
QUICK = {"limits": {"head_timeout": "1s", "keepalive_idle": "2s", "write_timeout": "1s", "min_send_rate": "0B"}}
CONNECTIONS = 5
MB = 1 << 20
ATTACKS = {attack.name: attack for attack in attacks("")}
# What a connection may cost whatever it sends, and the process's own ups and downs.
CONNECTION, NOISE = 256 << 10, 6 * MB


def resident(weir) -> int:
    return int(Path(f"/proc/{weir.process.pid}/statm").read_text().split()[1]) * 4096


def over_h2(weir) -> None:
    with H2Caller(weir.port) as caller:
        id, body = weir.body(stream=True)
        stream = caller.post(PATH, [weir.bearer], body)
        while stream not in caller.ended:
            caller.read()
        assert caller.ended[stream] == "end" and caller.body[stream].endswith(b"data: [DONE]\n\n")
    expect.row(weir.rows(id, 1)[0], "a", "ok", "reported")


def over_h1(weir) -> None:
    answer = weir.ask(stream=False)
    expect.whole(answer)
    expect.row(answer.rows(1)[0], "a", "ok", "reported")


@contextmanager
def meanwhile(work):
    """Runs beside the block; what it raises is raised here."""
    failed: list[BaseException] = []

    def run():
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(30)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def suffered(weir, attack, cut: str, context=None) -> None:
    """Runs one attack with good callers beside it, and looks at everything afterwards."""
    for work in (over_h1, over_h2) if not context else ():
        work(weir)
    before, most, found = resident(weir), 0, []
    with meanwhile(lambda: found.append(assault(weir.port, attack, CONNECTIONS, 4 * MB, 4, context, 12))):
        good = 2
        while not found and good < 600:
            if not context:
                over_h1(weir)
                over_h2(weir)
                good += 2
            else:
                time.sleep(0.02)
            most = max(most, resident(weir) - before)
    (seen,) = found
    assert most <= 10 * seen.sent + CONNECTIONS * CONNECTION + NOISE, (most, seen)
    assert weir.running() and "open" not in seen.ended, seen
    counted = weir.metric("h2_abuse_total")
    by_weir = weir.metric("h2_abuse_total", kind=cut) if cut else 0
    assert counted == by_weir, ("counted as something else", weir.metrics())
    if cut and not attack.library:
        assert by_weir == CONNECTIONS, (by_weir, seen)
    elif attack.more:
        # Buffers between the two may take all of it before the end is heard.
        cut_off = all(how == "reset" or how.startswith("goaway") for how in seen.ended)
        assert by_weir or cut_off or seen.sent < 4 * MB, ("it was not cut but had said all", seen)
    if not context:
        over_h1(weir)
        over_h2(weir)
        assert len(weir.ledger.rows()) == good + 2, "the attack was dispatched"
    weir.settles(0, "in_flight")


@pytest.mark.parametrize("name", ATTACKS)
def test_F59_an_attack_is_cut_or_bounded_and_harms_nobody(run, name):
    weir = run("a", H2C | QUICK)
    attack = next(each for each in attacks(weir.deployment.key) if each.name == name)
    suffered(weir, attack, attack.cut)


@pytest.mark.parametrize("name", [
    "rapid reset", "continuation flood", "settings flood", "ping flood", "half a head", "half a preface",
    "small heads, zero window, 100 streams", "fields of one byte, zero window, 100 streams",
])
def test_F59_the_same_over_tls(run, chaos, tmp_path, name):
    files = {"certificate": tmp_path / "chain.pem", "key": tmp_path / "key.pem"}
    install(chaos, "good", files)
    tls = {"listener": {"tls": {name: str(path) for name, path in files.items()}}}
    weir = run("a", tls | QUICK)
    attack = ATTACKS[name]
    # Without TLS a caller who says so little may as well speak HTTP/1.
    cut = "slow_head" if name == "half a preface" else attack.cut
    suffered(weir, attack, cut, trusting(chaos, ["h2"]))


def test_F59_what_was_dispatched_before_a_rapid_reset_has_its_row(run):
    weir = run("a", H2C, a={"first_content": "9s", "idle": "9s"})
    with H2Caller(weir.port) as caller:
        asked = []
        for _ in range(30):
            id, body = weir.body({"a": {"head_delay": 8}}, stream=True)
            asked.append((id, caller.post(PATH, [weir.bearer], body)))
        for id, _ in asked:
            weir.chaos.truth.wait("request", id=id)
        for _, stream in asked:
            caller.reset(stream)
        for id, _ in asked:
            assert weir.rows(id, 1)[0]["outcome"] == "client_abort"
        over_h1(weir)
    assert weir.metric("h2_abuse_total") == 0, "thirty callers may give up at once"
    weir.settles(0, "in_flight")


def test_F59_a_window_of_one_byte_is_given_up_on(run):
    """Requests with a key, answers that nobody takes: each upstream is let go within the write timeout."""
    weir = run("a", H2C | QUICK, a={"total": "60s", "idle": "60s", "first_content": "9s"})
    over_h2(weir)
    before = resident(weir)
    wire = Wire(weir.port, values={INITIAL_WINDOW_SIZE: 1})
    asked = []
    for n in range(40):
        # All bodies together fit into the window that the connection begins with.
        id, body = weir.body({"a": {"text": ["x" * 100] * 8}}, stream=True)
        wire.push(h2attack.request(n, [weir.bearer], end=False)
                  + h2attack.frame(h2attack.DATA, h2attack.END_STREAM, h2attack.stream(n), body))
        asked.append(id)
    most = 0
    for id in asked:
        wire.drain(0.05)
        most = max(most, resident(weir) - before)
        over_h1(weir)
        (row,) = weir.ledger.wait(1, seconds=8, session=id)
        assert row["outcome"] == "client_abort", dict(row)
    assert most < 64 * MB, most
    assert wire.until_ended(8), "nothing is open, so the connection is idle"
    weir.settles(0, "in_flight")


def test_a_busy_caller_is_no_attacker(run):
    """It answers every read with window updates, pings, changes its settings, and gives requests up."""
    weir = run("a", H2C, a={"total": "60s", "idle": "60s", "first_content": "9s"})
    with H2Caller(weir.port) as caller:
        for turn in range(5):
            step = {"a": {"text": ["w "] * 400, "split": "event", "pace": 0.0005}}
            asked = []
            for _ in range(20):
                _, body = weir.body(step, stream=True)
                asked.append(caller.post(PATH, [weir.bearer], body))
            given_up = asked[::4]
            for stream in given_up:
                caller.until(stream, b"data:")
                caller.reset(stream)
                caller.ended[stream] = "reset"
            for n in range(20):
                caller.conn.ping(struct.pack(">Q", n))
            caller.conn.update_settings({4: 65_535 + turn})
            caller.flush()
            while any(stream not in caller.ended for stream in asked):
                caller.read()
                assert not caller.gone
                caller.conn.increment_flow_control_window(1)
                caller.flush()
            whole = [stream for stream in asked if stream not in given_up]
            assert all(caller.body[stream].endswith(b"data: [DONE]\n\n") for stream in whole)
    assert weir.metric("h2_abuse_total") == 0


def test_a_refusal_waits_for_few_and_is_whole_for_who_takes_it(run):
    """A full window costs the answer once the places are taken; a caller who reads gets it at once."""
    weir = run("a", H2C | {"limits": {"failed_keys": 0}})
    wires = [Wire(weir.port, values={INITIAL_WINDOW_SIZE: 0}) for _ in range(3)]
    for wire in wires:
        wire.push(b"".join(h2attack.request(n) for n in range(100)))
    for _ in range(50):
        for wire in wires:
            wire.drain(0.02)
        if sum(wire.received.get(h2attack.RST_STREAM, 0) for wire in wires) >= 300 - 64:
            break
    given_up = sum(wire.received.get(h2attack.RST_STREAM, 0) for wire in wires)
    assert given_up == 300 - 64, given_up
    with H2Caller(weir.port) as caller:
        stream = caller.post(PATH, [("authorization", "Bearer nobody")], b"{}")
        while stream not in caller.ended:
            caller.read()
        assert caller.status[stream] == 401 and caller.body[stream].endswith(b"}")
    for wire in wires:
        wire.close()


LIST_BYTES = 16 << 10


@pytest.mark.parametrize("size", [LIST_BYTES - 1, LIST_BYTES])
def test_S8_a_header_list_is_as_long_as_the_settings_say_and_no_longer(run, size):
    weir = run("a", H2C)
    id, body = weir.body(stream=True)
    with H2Caller(weir.port) as caller:
        fixed = [(":method", "POST"), (":path", PATH), (":scheme", "http"), (":authority", "w"), weir.bearer]
        rest = size - sum(len(name) + len(value) + 32 for name, value in fixed)
        pad = [(f"x-{n}", "v" * 1_000) for n in range(9)]
        rest -= sum(len(name) + len(value) + 32 for name, value in pad)
        stream = caller.post(PATH, [weir.bearer, *pad, ("x-rest", "v" * (rest - 38))], body)
        while stream not in caller.status:
            caller.read()
        assert caller.status[stream] == (200 if size < LIST_BYTES else 431)
        stream = caller.post(PATH, [weir.bearer], weir.body(stream=True)[1])
        while stream not in caller.ended:
            caller.read()
        assert caller.status[stream] == 200, "the connection serves on"


def test_S8_the_settings_say_what_is_configured(run):
    weir = run("a", H2C | {"limits": {"h2_streams": 7}})
    with H2Caller(weir.port) as caller:
        caller.flush()
        caller.read()
        assert caller.conn.remote_settings.max_concurrent_streams == 7
        assert caller.conn.remote_settings.max_header_list_size == LIST_BYTES

"""SIGHUP and SIGTERM under load; broken configurations (F75, F81 to F84)."""

import signal
import time

import expect
import pytest
from weir import request


def hangup(weir) -> None:
    weir.process.send_signal(signal.SIGHUP)


def test_a_new_key_and_model_are_served_after_a_reload(run):
    weir = run("a")
    models = weir.conf / "models.toml"
    models.write_text(models.read_text().replace("test/m", "test/renamed"))
    hangup(weir)
    weir.settles(1, "reload_total", result="applied")
    expect.whole(weir.ask(model="test/renamed"))
    expect.refused(weir.ask(model="test/m"), 400, "test/m is not a valid model ID")


def test_a_new_secret_serves_at_once_though_the_old_one_was_refused(run):
    """The cooldown is the old secret's: another one under its name has not failed yet."""
    weir = run("a")
    expect.refused(weir.ask({"a": {"status": 401}}), 502)
    refused = weir.ask()
    assert refused.status != 200 and refused.seen() == []
    secret = weir.conf / "a.secret"
    secret.unlink()
    secret.write_text("canary-provider-rotated")
    secret.chmod(0o400)
    hangup(weir)
    weir.settles(1, "reload_total", result="applied")
    answer = weir.ask()
    expect.whole(answer)
    assert dict(answer.seen("a")[0]["headers"])["authorization"] == "Bearer canary-provider-rotated"


def test_what_only_a_restart_changes_is_said_and_what_a_reload_changes_is_not(run):
    weir = run("a")
    settings = weir.conf / "weir.toml"
    text = settings.read_text()
    slots = "slots = 99\n"
    settings.write_text(text.replace("[ledger]\n", f"[ledger]\n{slots}") if "[ledger]\n" in text else f"{text}\n[ledger]\n{slots}")
    for number in (1, 2):
        before = len(weir.log.read_text())
        hangup(weir)
        weir.settles(number, "reload_total", result="applied")
        weir.logged("ledger.slots: stays as it was at the start, until a restart", before)
    settings.write_text(text)
    before = len(weir.log.read_text())
    hangup(weir)
    weir.settles(3, "reload_total", result="applied")
    assert "until a restart" not in weir.logged("configuration reloaded", before)


# A file, what of it changes, and the status of a request that comes after.
GONE = {
    "price": ("models.toml", 'input = "1"', 'input = "5"', 200),
    "model": ("models.toml", 'slug = "test/m"', 'slug = "test/other"', 400),
    "key": ("keys.toml", 'hash = "', 'hash = "' + "0" * 64 + '" #', 401),
}


@pytest.mark.parametrize("what", GONE)
def test_F83_a_running_stream_keeps_its_snapshot(run, what):
    weir = run("a")
    name, before, after, status = GONE[what]
    with weir.asking({"a": {"text": ["word "] * 10, "pace": 0.1}}) as (id, raw):
        raw.read_until(b"word")
        file = weir.conf / name
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))
        hangup(weir)
        weir.settles(1, "reload_total", result="applied")
        assert weir.ask().status == status
        reply = raw.read()
    expect.whole(reply, "word " * 10)
    expect.paid(weir.rows(id, 1)[0], weir.deployment.cost("a", expect.INPUT, expect.OUTPUT))


BROKEN = {
    "syntax": ("models.toml", lambda text: text + "\n[[model\n"),
    "unknown key": ("weir.toml", lambda text: "drian = \"5s\"\n" + text),
    "wrong type": ("weir.toml", lambda text: "drain = 5\n" + text),
    "duplicate model": ("models.toml", lambda text: text + text),
    "no endpoint": ("models.toml", lambda text: text + '[[model]]\nslug = "x/y"\ncontext_length = 1\n'),
    "unknown provider": ("models.toml", lambda text: text.replace('provider = "a"', 'provider = "zz"')),
    "https without a name": ("providers.toml", lambda text: text.replace("http://127", "https://127")),
    "a literal secret": ("providers.toml",
                         lambda text: text.replace('{ file = "a.secret" }', '"canary-literal-secret"')),
    "a key in the clear": ("keys.toml", lambda text: text.replace('hash = "', 'hash = "canary-literal-secret')),
    "bad price": ("models.toml", lambda text: text.replace('input = "1"', 'input = "cheap"')),
}


@pytest.mark.parametrize("name", BROKEN)
def test_F81_a_broken_configuration_changes_nothing(run, name):
    weir = run("a")
    file, breaks = BROKEN[name]
    path = weir.conf / file
    path.write_text(breaks(path.read_text()))
    before = len(weir.log.read_text())
    hangup(weir)
    weir.settles(1, "reload_total", result="rejected")
    expect.whole(weir.ask())
    said = weir.logged(file, before)
    assert "canary-literal-secret" not in said
    assert weir.metric("config_epoch") == 1
    checked = weir.check()
    assert checked.returncode == 1 and file in checked.stderr + checked.stdout
    assert "canary-literal-secret" not in checked.stderr + checked.stdout


def test_F75_sigterm_cuts_no_open_stream_and_loses_no_row(run):
    weir = run("a", settings={"drain": "20s"}, a={"first_content": "9s", "idle": "9s"})
    step = {"text": ["word "] * 20, "pace": 0.1}
    opened = [weir.asking({"a": step}) for _ in range(50)]
    streams = [manager.__enter__() for manager in opened]
    for _, raw in streams:
        raw.read_until(b"word")
    weir.process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    replies = [raw.read() for _, raw in streams]
    code = weir.process.wait(timeout=25)
    for reply in replies:
        expect.whole(reply, "word " * 20)
    assert code == 0
    assert time.monotonic() - asked < 10, "it ends when idle, not after a fixed sleep"
    for id, _ in streams:
        expect.row(weir.rows(id, 1)[0], "a", "ok", "reported")
    for manager in opened:
        manager.__exit__(None, None, None)


def test_F75_sigterm_waits_for_a_body_on_its_way_and_answers_it(run):
    """A request is under way from its head on, not from its plan on."""
    weir = run("a", settings={"drain": "20s"})
    id, body = weir.body(stream=True)
    whole, half = request("/v1/chat/completions", [weir.bearer], body), len(body) // 2
    with weir.connect() as raw:
        raw.send(whole[:-half])
        time.sleep(0.3)
        weir.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        raw.send(whole[-half:])
        expect.whole(raw.read())
    assert weir.process.wait(timeout=10) == 0
    expect.row(weir.rows(id, 1)[0], "a", "ok", "reported")


def test_F75_an_answer_during_a_drain_says_close(run):
    """So that no caller sends its next request on a connection that is about to end."""
    weir = run("a", settings={"drain": "20s"},
               a={"first_content": "19s", "total": "60s"})
    kinds = [({}, True), ({}, False), ({"status": 400}, True), ({"status": 500}, False)]
    # Later than a busy machine needs for all eight and the signal.
    opened = [weir.asking({"a": step | {"head_delay": 6}}, path=path, stream=stream)
              for path in expect.BOTH_FACES for step, stream in kinds]
    asked = [manager.__enter__() for manager in opened]
    for id, _ in asked:
        weir.chaos.truth.wait("request", id=id)
    weir.process.send_signal(signal.SIGTERM)
    replies = [raw.read() for _, raw in asked]
    assert [reply.status for reply in replies] == [200, 200, 400, 502] * 2
    assert [(reply.ended, reply.headers.get("connection")) for reply in replies] == [("clean", "close")] * 8
    for manager in opened:
        manager.__exit__(None, None, None)
    assert weir.process.wait(timeout=10) == 0


def test_F75_sigterm_ends_many_streams_at_its_limit_with_a_row_each(run):
    weir = run("a", settings={"drain": "1s"}, a={"first_content": "9s", "idle": "9s", "total": "60s"})
    step = {"a": {"text": ["word "] * 200, "pace": 0.1}}
    opened = [weir.asking(step, path=expect.BOTH_FACES[n % 2]) for n in range(20)]
    streams = [manager.__enter__() for manager in opened]
    for _, raw in streams:
        raw.read_until(b"word")
    weir.process.send_signal(signal.SIGTERM)
    assert weir.process.wait(timeout=15) == 0
    for id, _ in streams:
        (row,) = weir.rows(id, 1)
        expect.row(row, "a", "shutdown", "estimated")
        assert row["output"] >= 1 and row["committed"]
    for manager in opened:
        manager.__exit__(None, None, None)


def test_F75_sigterm_stops_accepting_and_ends_at_its_limit(run):
    weir = run("a", settings={"drain": "1s"}, a={"first_content": "9s", "idle": "9s", "total": "60s"})
    with weir.asking({"a": {"text": ["word "] * 200, "pace": 0.1}}) as (id, raw):
        raw.read_until(b"word")
        weir.process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        reply = raw.read()
        code = weir.process.wait(timeout=15)
    assert code == 0 and time.monotonic() - asked < 8
    assert b"[DONE]" not in reply.body
    (row,) = weir.rows(id, 1)
    expect.row(row, "a", "shutdown", "estimated")
    with pytest.raises(OSError):
        weir.connect()


def test_ready_means_accepting(run):
    """Who waits for /readyz, or for systemd's notification, must find an open door."""
    weir = run("a")
    for _ in range(10):
        weir.stop()
        weir.launch(wait=False)
        while not weir.is_ready():
            assert weir.running()
        weir.connect().close()

"""Prompts, completions, keys and secrets stay where they belong (S11, S15, S18 to S22, S32, S33)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import resource
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import expect
import isolation
import pytest
from client import head
from weir import Weir, binary

PATH = "/api/v1/chat/completions"
LEVELS = [(None, "text"), ("info", "json"), ("debug", "text"), ("trace", "json")]


def strips_debug() -> bool:
    """Whether the binary is built as releases are: nothing below info is in it."""
    return Path(os.environ.get("WEIR_SANDBOXED") or binary()).parent.name != "debug"


class Canaries:
    """Texts that must be nowhere but where they were sent to, by what they stand for."""

    def __init__(self, weir: Weir) -> None:
        def made(kind: str) -> str:
            return f"canary-{kind}-{secrets.token_hex(8)}"

        self.weir = weir
        self.secrets = [provider.secret for provider in weir.deployment.providers]
        self.key = weir.deployment.key
        self.completion, self.upstream, self.header = made("completion"), made("upstream"), made("header")
        self.guess, self.file = f"sk-or-v1-{secrets.token_hex(32)}", made("file")
        self.all = [*self.secrets, self.key, self.completion, self.upstream, self.header, self.guess, self.file,
                    weir.canary]

    def none_in(self, what: str, text: str | bytes, *but: str) -> None:
        text = text.encode() if isinstance(text, str) else text
        for canary in set(self.all) - set(but):
            at = text.find(canary.encode())
            assert at < 0, f"{canary} is in {what}: ...{text[max(0, at - 200):at]!r}"


def steps(canaries: Canaries) -> list[dict]:
    """What each provider does; one thing only, because most of them cost it a cooldown. The last ten
    fail before content, and another is left to try."""
    said = {"text": ["a ", canaries.completion]}
    quoted = {"message": f"{canaries.upstream}: {canaries.weir.canary}", "echo_key": True}
    fault = {"code": 500, "message": canaries.upstream}
    alone = [{"status": status} | quoted for status in (400, 401, 403, 422, 429, 500)]
    alone += [said, said | {"cut": {"event": 2}}, said | {"error": {"at": 1, "error": fault}},
              said | {"bad_event": {"at": 0, "data": canaries.upstream}}]
    first = [{"status": status} | quoted for status in (401, 402, 403, 429, 500, 503)]
    first += [said | {"error": {"at": 0, "error": fault}}, {"raw": canaries.upstream}, {"do": "garbage"},
              {"do": "reset"}]
    return alone + first


LETTERS = "abcdefghijklmnopqrst"
"""A provider for each of the steps, and one that is always well."""
MODELS = {f"test/{letter}": letter + "z" * (index > 9) for index, letter in enumerate(LETTERS)}


def everything(weir: Weir, canaries: Canaries, path: str) -> None:
    """One request of every sort that carries something private, each answer looked at."""
    headers = [("x-private", canaries.header), ("cookie", canaries.header), ("user-agent", canaries.header)]
    well = {"z": {"text": ["a ", canaries.completion]}}
    for letter, step in zip(LETTERS, steps(canaries), strict=True):
        answer = weir.ask({letter: step} | well, path=path, headers=headers, model=f"test/{letter}")
        assert answer.seen(letter), "the step was not taken"
        assert bool(answer.seen("z")) == MODELS[f"test/{letter}"].endswith("z"), (step, answer.body)
        # What the provider says of the request is the caller's to read; the provider's key is not.
        own = (canaries.completion, canaries.upstream, weir.canary)
        canaries.none_in(f"the answer to {step}", answer.body, *own)
        canaries.none_in("the head", json.dumps(answer.headers))
    misfits(weir, canaries, headers)


def misfits(weir: Weir, canaries: Canaries, headers: list) -> None:
    """Requests that Weir itself refuses, a caller that leaves, and a configuration it refuses."""
    bodies = [weir.canary.encode(), b'{"model":"test/a","model":"%s"}' % weir.canary.encode(),
              b'{"model":"test/a","messages":[],"stream":"%s"}' % weir.canary.encode(), b'["%s' % weir.canary.encode()]
    for body in bodies:
        with weir.connect() as raw:
            reply = raw.ask("POST", PATH, [weir.bearer, *headers], body)
        assert reply.status == 400
        canaries.none_in("a refusal", reply.body)
    for fields in ([("authorization", f"Bearer {canaries.guess}")], [("x-api-key", canaries.guess)]):
        with weir.connect() as raw:
            reply = raw.ask("POST", PATH, [*fields, *headers], weir.body()[1])
        assert reply.status == 401
        canaries.none_in("a refusal", reply.body)
    for line in (f"authorization Bearer {canaries.key}", f"x\x01y: {canaries.header}", f": {canaries.key}"):
        with weir.connect(3) as raw:
            raw.send(f"POST {PATH} HTTP/1.1\r\nhost: w\r\n{line}\r\n\r\n".encode())
            raw.read()
            canaries.none_in("what a broken head is told", raw.buffer)
    with weir.asking({"*": {"text": [canaries.completion] * 50, "pace": 0.1}}, model="test/y") as (_, raw):
        raw.read_until(canaries.completion.encode())
    for name in ("providers.toml", "keys.toml", "weir.toml"):
        path = weir.conf / name
        good = path.read_text()
        path.write_text(good + f'\nwrong = "{canaries.file}"\n[[{canaries.file}')
        rejected = weir.metric("reload_total", result="rejected")
        weir.process.send_signal(signal.SIGHUP)
        weir.settles(rejected + 1, "reload_total", result="rejected")
        canaries.none_in("what check says", (done := weir.check()).stdout + done.stderr)
        path.write_text(good)


@pytest.mark.parametrize(("level", "form"), LEVELS)
@pytest.mark.parametrize("path", expect.BOTH_FACES)
def test_S20_canaries_are_nowhere(run, path, level, form):
    if level in ("debug", "trace") and not strips_debug():
        pytest.skip("a debug build logs what Pingora traces: test a release build")
    refused = {"base_url": "http://127.0.0.1:1/v1"}
    models = MODELS | {"test/x": "x", "test/y": "y"}
    weir = run(models, {"log": form}, environment={"RUST_LOG": level}, x=refused)
    canaries = Canaries(weir)
    everything(weir, canaries, path)
    assert weir.ask(model="test/x", path=path).status in (502, 503)
    weir.settles(0, "in_flight")
    weir.settles(0, "spool_rows")
    for page in ("/metrics", "/readyz", "/healthz"):
        canaries.none_in(page, weir.get_admin(page))
    process = Path("/proc") / str(weir.process.pid)
    for name in ("cmdline", "comm"):
        canaries.none_in(name, (process / name).read_bytes())
    if os.geteuid() == 0:
        canaries.none_in("environ", (process / "environ").read_bytes())
    weir.stop()
    log = weir.log.read_bytes()
    assert b"access" in log, "the log was written"
    canaries.none_in("the log", log)
    if strips_debug():
        assert not re.search(rb'^\S+Z +(DEBUG|TRACE) |"level":"(DEBUG|TRACE)"', log, re.M)
    files = [path for path in (weir.directory / "state").rglob("*") if path.is_file()]
    assert len(files) >= 3, files
    for path in files:
        canaries.none_in(path.name, path.read_bytes())


def test_S21_a_provider_that_quotes_its_key_gives_nothing_away(run):
    """On either face, in whatever status it passes on, and in the content of an answer."""
    weir = run("a")
    secret = weir.deployment.providers[0].secret
    for path in expect.BOTH_FACES:
        for stream in (True, False):
            for split in ("event", "byte", "whole"):
                for step in ({"status": 400, "echo_key": True}, {"text": ["the key is ", secret, "!"]},
                             {"error": {"at": 2, "error": {"code": 400, "message": secret}}}):
                    if "error" in step and not stream:
                        continue
                    answer = weir.ask({"a": step | {"split": split}}, path=path, stream=stream)
                    assert secret.encode() not in answer.body, (path, step)
                    assert b"*" * len(secret) in answer.body, (path, step, answer.body)


# What others on the host can see (S19)

PEEK = """
import ctypes, os, sys
pid, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(16, pid, 0, 0) == -1, "it can be traced"
for name in ("mem", "environ", "maps"):
    try:
        os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
    except PermissionError:
        continue
    sys.exit(f"{name} can be read")
"""


# Root's ways around permissions are not every user's.
DROP = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


def peeked(pid: int) -> subprocess.CompletedProcess:
    """What another process of the same user can do."""
    return subprocess.run([*DROP, sys.executable, "-c", PEEK, str(pid)], capture_output=True, text=True, timeout=10)


def test_S19_another_process_of_the_same_user_sees_nothing(run):
    weir = run("a")
    weir.stop()
    process = started(weir, [*DROP, binary(), "run", "--conf", weir.conf])
    other = subprocess.Popen([*DROP, "sleep", "60"])
    try:
        done = peeked(process.pid)
        assert done.returncode == 0, done.stderr
        assert peeked(other.pid).returncode != 0, "the look at Weir could not have failed"
    finally:
        for each in (process, other):
            each.kill()
            each.wait()


def started(weir: Weir, command: list, **how: object) -> subprocess.Popen:
    """The process of this command, once it serves on the files of an earlier Weir."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)
    deadline = time.monotonic() + 10
    while not weir.is_ready():
        assert time.monotonic() < deadline and process.poll() is None, "not ready"
        time.sleep(0.02)
    return process


def died(weir: Weir, how: signal.Signals, where: Path) -> int:
    """The wait status of a Weir that may dump core and is ended by a signal."""
    def unlimited() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        os.chdir(where)

    process = started(weir, [binary(), "run", "--conf", weir.conf], preexec_fn=unlimited)
    deadline = time.monotonic() + 10
    pid = 0
    while not pid:
        # Twice at least: the first SIGSEGV is taken by the handler that looks for stack overflows.
        process.send_signal(how)
        time.sleep(0.05)
        assert time.monotonic() < deadline, f"it lives on after {how}"
        pid, status = os.waitpid(process.pid, os.WNOHANG)
    process.returncode = -how
    return status


@pytest.mark.skipif(os.geteuid() != 0, reason="raising the limit of core files takes root")
@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGABRT])
def test_S19_no_core_file_is_written(run, tmp_path, how):
    weir = run("a")
    weir.stop()
    place = tmp_path / "cores"
    place.mkdir()
    status = died(weir, how, place)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == how
    assert not os.WCOREDUMP(status) and list(place.iterdir()) == []


# Who may know what (S11, S15, S22)


def test_S11_an_address_that_guesses_is_told_to_wait_and_good_keys_are_served(run):
    weir = run("a", {"limits": {"failed_keys": 3}})
    statuses = []
    for guess in range(8):
        with weir.connect() as raw:
            reply = raw.ask("POST", PATH, [("authorization", f"Bearer sk-or-v1-{guess:064x}")], b"{}")
        statuses.append(reply.status)
        if reply.status == 429:
            error = expect.refused(reply, 429)
            assert 0 < int(reply.headers["retry-after"]) <= 60
            assert error["metadata"]["retry_after_seconds"] == int(reply.headers["retry-after"])
    # Eight are more than two minutes' worth, should one of the clock begin in between.
    assert statuses[:3] == [401] * 3 and 429 in statuses[3:], statuses
    expect.whole(weir.ask())
    weir.settles(statuses.count(401), "failed_keys_total", answer="refused")
    weir.settles(statuses.count(429), "failed_keys_total", answer="limited")


def test_S11_a_bad_key_is_refused_before_its_body(run):
    weir = run("a")
    with weir.connect() as raw:
        fields = [("host", "w"), ("authorization", "Bearer nope"), ("content-length", str(1 << 30))]
        raw.send(head("POST", PATH, fields))
        assert raw.read().status == 401


def test_S15_unknown_and_forbidden_models_are_told_apart_by_nothing(run):
    weir = run({"test/m": "a", "test/secret": "b"})
    keys = weir.conf / "keys.toml"
    keys.write_text(keys.read_text() + 'models = ["test/m"]\n')
    weir.process.send_signal(signal.SIGHUP)
    weir.settles(1, "reload_total", result="applied")
    for path in expect.BOTH_FACES:
        said = []
        for model in ("test/secret", "test/absent"):
            answer = weir.ask(path=path, model=model)
            expect.refused(answer, 400, f"{model} is not a valid model ID")
            headers = {name: value for name, value in answer.headers.items() if name != "date"}
            said.append((json.loads(answer.body.decode().replace(model, "MODEL"))["error"], headers.keys()))
        assert said[0] == said[1]
    expect.whole(weir.ask())


def test_S22_made_up_models_make_no_series(run):
    weir = run("a")
    weir.ask()
    weir.ask(model="made/up")
    weir.settles(1, "ledger_rows_total")
    before = sorted((name, *labels.items()) for name, labels, _ in weir.metrics())
    with weir.connect(30) as raw:
        for _ in range(10_000):
            body = b'{"model":"made/%s","messages":[{"role":"user","content":"x"}]}' % secrets.token_hex(8).encode()
            assert raw.ask("POST", PATH, [weir.bearer], body).status == 400
    assert sorted((name, *labels.items()) for name, labels, _ in weir.metrics()) == before
    weir.settles(10_001, "requests_total", outcome="caller_fault")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the descriptors of a process that cannot be traced")
def test_S22_nothing_listens_but_what_is_configured(run):
    weir = run("a")
    process = Path("/proc") / str(weir.process.pid)
    sockets = set()
    for path in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(os.readlink(path))
    ports = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in (process / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            unconnected = int(fields[2].split(":")[1], 16) == 0
            if unconnected and f"socket:[{fields[9]}]" in sockets:
                ports.add((table, int(fields[1].split(":")[1], 16)))
    assert ports == {("tcp", weir.port), ("tcp", weir.admin)}


# Between callers (S32), and into terminals (S33)


def test_S32_ten_thousand_interleaved_requests_stay_apart(run):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    weir = run("ab", {"limits": {"connections": 200}}, environment={"RUST_LOG": "warn"})
    callers = isolation.keys(weir, 8)
    weir.process.send_signal(signal.SIGHUP)
    weir.settles(1, "reload_total", result="applied")
    found = asyncio.run(isolation.interleaved(weir, callers, 10_000, 32, seed))
    assert found.strange == []
    assert found.whole + found.unserved + found.left == 10_000 and found.whole > 9_000
    weir.settles(0, "in_flight")
    weir.settles(0, "spool_rows")
    assert isolation.strangers(weir, found) == []
    assert len(weir.ledger.rows()) > found.whole


ESCAPES = "\x1b[2J\x1b]0;owned\x07\r\nforged\x9b\u202e"


@pytest.mark.parametrize("form", ["text", "json"])
def test_S33_nothing_sent_moves_a_terminals_cursor(run, form):
    # At a level that is built in: the logger's own warning about another one is coloured.
    weir = run("ab", {"log": form}, environment={"RUST_LOG": "info"})
    weir.ask(model=ESCAPES)
    weir.ask(user=ESCAPES, session_id=None)
    for status in (400, 500):
        weir.ask({"*": {"status": status, "message": ESCAPES}})
    weir.ask({"*": {"error": {"at": 0, "error": {"code": 500, "message": ESCAPES}}}})
    with weir.connect() as raw:
        raw.ask("POST", PATH, [weir.bearer, ("x-title", "a\x1b[2J")], weir.body()[1])
    metrics = weir.get_admin("/metrics")
    weir.stop()
    for text in (weir.log.read_text(), metrics):
        odd = {char for char in text if (ord(char) < 32 or 127 <= ord(char) < 160 or char == "\u202e") and char != "\n"}
        assert not odd
        assert "forged" not in text

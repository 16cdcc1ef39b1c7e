"""What operators run: `weir demo`, `weir usage`, `weir key`, systemd's notifications, rules, keys."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import tomllib
import urllib.request
from pathlib import Path

import expect
import httpx
import pytest
from weir import binary, free_ports

ROOT = Path(__file__).parents[2]

# weir demo


class Demo:
    """`weir demo` with its output as it comes."""

    def __init__(self, place):
        self.held: list = []
        self.port, self.admin = free_ports(2, self.held)
        command = [binary(), "demo", "--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env=os.environ | {"TMPDIR": str(place)})
        self.lines: list[str] = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(iter(self.process.stdout.readline, "")))
        self.reader.start()

    def until(self, pattern: str) -> re.Match:
        """The first line that matches, once it has been printed."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if found := re.search(pattern, "".join(self.lines), re.M):
                return found
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} is not in what was printed: {''.join(self.lines)}")

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        try:
            return self.process.wait(timeout=20)
        finally:
            self.process.kill()
            self.reader.join(timeout=5)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_demo_runs_what_it_prints_and_leaves_nothing(tmp_path, how):
    place = tmp_path / "temporary"
    place.mkdir()
    demo = Demo(place)
    try:
        curl = demo.until(r"^ +(curl .*)$")[1]
        metrics = demo.until(r"^Metrics: (\S+)$")[1]
        demo.until("OpenAI")
        assert list(place.iterdir()), "configuration and ledger are in the temporary directory"
        wait_for(demo.port)
        done = subprocess.run(curl, shell=True, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0 and "data: [DONE]" in done.stdout, done
        model = json.loads(re.search(r"-d '([^']*)'", curl)[1])["model"]
        line = demo.until(rf"^{re.escape(model)} +\S+ +\d+ +(\d+) \+ (\d+) +([0-9.]+) +\d+ ms +ok")
        assert int(line[1]) > 0 and int(line[2]) > 0 and float(line[3]) > 0
        with urllib.request.urlopen(metrics, timeout=5) as reply:
            assert f'weir_requests_total{{face="openrouter"' in reply.read().decode()
        names = {entry["id"] for entry in httpx.get(f"http://127.0.0.1:{demo.port}/api/v1/models").json()["data"]}
        routers = {"weir/auto", "openrouter/auto"}
        assert routers < names and len(names - routers) == 3
        assert all(name in "".join(demo.lines) for name in names - routers)
    finally:
        code = demo.end(how)
    assert code == 0, "".join(demo.lines)
    assert "panic" not in "".join(demo.lines)
    assert list(place.iterdir()) == []


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.02)


def test_a_demo_beside_another_says_why_it_does_not_start(tmp_path):
    demo = Demo(tmp_path)
    try:
        demo.until(r"^Metrics:")
        wait_for(demo.port)
        command = [binary(), "demo", "--listen", f"127.0.0.1:{demo.port}", "--admin", "127.0.0.1:1"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=10)
        assert second.returncode == 1 and f"127.0.0.1:{demo.port}" in second.stderr
    finally:
        demo.end(signal.SIGTERM)


# weir usage, weir key


def usage(weir, by: str, *more: str) -> list[list[str]]:
    """The table of `weir usage`, in words."""
    command = [binary(), "usage", "--by", by, *(more or ("--conf", str(weir.conf)))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_usage_totals_are_the_ledgers(run):
    weir = run({"test/m": "ab", "test/n": "c"})
    weir.ask({"a": {"status": 500}}).rows(2)
    for _ in range(3):
        weir.ask().rows(1)
    weir.ask(model="test/n").rows(1)
    rows = weir.ledger.rows()
    for by, column in (("model", "model"), ("provider", "provider"), ("workspace", "workspace")):
        table = usage(weir, by)
        shown = {words[0]: words[1:] for words in table[1:]}
        for name in {row[column] for row in rows}:
            of = [row for row in rows if row[column] == name]
            words = shown[name]
            tokens = {sum(row["input"] for row in of), sum(row["output"] for row in of), len(of)}
            assert tokens <= {int(word.replace(",", "")) for word in words if word.replace(",", "").isdigit()}, table
            charge = sum(row["charge"] for row in of)
            assert any(is_money(word, charge) for word in words), (charge, table)
    handle = hashlib.sha256(weir.deployment.key.encode()).hexdigest()
    assert any(handle in words for words in usage(weir, "key"))
    (day,) = {time.strftime("%Y-%m-%d", time.gmtime(row["started_us"] / 1e6)) for row in rows}
    assert any(day in words for words in usage(weir, "day"))
    again = usage(weir, "model", "--ledger", str(weir.ledger.path))
    assert again == usage(weir, "model")


def is_money(word: str, pico: int) -> bool:
    whole, _, part = word.replace(",", "").lstrip("$").partition(".")
    return (whole + part).isdigit() and len(part) <= 12 and int(whole + part.ljust(12, "0")) == pico


def test_a_new_key_is_printed_once_and_serves_after_sighup(run):
    weir = run("a")
    done = subprocess.run([binary(), "key", "new", "--name", "second"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0
    (key,) = re.findall(r"sk-or-v1-[0-9a-f]{64}", done.stdout + done.stderr)
    block = done.stdout[done.stdout.index("[[key]]"):]
    keys = weir.conf / "keys.toml"
    old = keys.read_text()
    keys.write_text(block)
    hangup(weir, "applied")
    _, body = weir.body(stream=False)
    with weir.connect() as raw:
        expect.whole(raw.ask("POST", "/v1/chat/completions", [("authorization", f"Bearer {key}")], body))
    expect.refused(weir.ask(), 401, "User not found.")
    keys.write_text(old + block)
    hangup(weir, "applied", 2)
    expect.whole(weir.ask())
    assert key not in weir.log.read_text() and key not in keys.read_text()


def hangup(weir, result: str, times: int = 1) -> None:
    weir.process.send_signal(signal.SIGHUP)
    weir.settles(times, "reload_total", result=result)


# A generation belongs to its workspace


def test_a_generation_is_read_only_within_its_workspace(run):
    weir = run("a")
    made = {}
    with open(weir.conf / "keys.toml", "a") as keys:
        for name, workspace in (("colleague", "default"), ("stranger", "elsewhere")):
            done = subprocess.run([binary(), "key", "new", "--name", name], capture_output=True, text=True)
            made[name] = re.search(r"sk-or-v1-[0-9a-f]{64}", done.stdout + done.stderr)[0]
            hash = re.search(r'hash = "([0-9a-f]{64})"', done.stdout)[1]
            keys.write(f'\n[[key]]\nname = "{name}"\nworkspace = "{workspace}"\nhash = "{hash}"\n')
    hangup(weir, "applied")
    answer = weir.ask()
    path = f"/api/v1/generation?id={answer.headers['x-generation-id']}"
    for settle in (False, True):
        if settle:
            answer.rows(1)  # by now it is read from the ledger, before that from the slot
        for name, status in (("colleague", 200), ("stranger", 404)):
            with weir.connect() as raw:
                reply = raw.ask("GET", path, [("authorization", f"Bearer {made[name]}")])
            assert reply.status == status, (name, reply.body)
    with weir.connect() as raw:
        expect.refused(raw.ask("GET", path, []), 401, "No cookie auth credentials found")


# systemd


def test_the_service_manager_is_told_each_step(run, tmp_path):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(5)

    def told() -> str:
        return manager.recv(4096).decode()

    with manager:
        weir = run("a", environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert told().startswith("READY=1")
        weir.process.send_signal(signal.SIGHUP)
        assert re.match(r"RELOADING=1\nMONOTONIC_USEC=\d+", told())
        assert told().startswith("READY=1")
        (weir.conf / "keys.toml").write_text("broken")
        weir.process.send_signal(signal.SIGHUP)
        assert told().startswith("RELOADING=1") and told().startswith("READY=1"), "the old one serves on"
        weir.stop()
        assert told().startswith("STOPPING=1")


def test_a_secret_is_read_from_systemds_credentials(run, tmp_path):
    place = tmp_path / "credentials"
    place.mkdir()
    (place / "provider-a").write_text("canary-from-systemd\n")
    (place / "provider-a").chmod(0o400)
    weir = run("a", environment={"CREDENTIALS_DIRECTORY": str(place), "OTHER": "canary-from-environment"})
    providers = weir.conf / "providers.toml"
    text = providers.read_text()
    for reference, secret in (('{ credential = "provider-a" }', "canary-from-systemd"),
                              ('{ env = "OTHER" }', "canary-from-environment")):
        providers.write_text(text.replace('{ file = "a.secret" }', reference))
        weir.stop()
        weir.launch()
        answer = weir.ask()
        assert ["authorization", f"Bearer {secret}"] in answer.seen("a")[0]["headers"]
        assert secret not in weir.log.read_text()


# Rules

RULES = """
[[rule]]
name = "no-interns"
when = { header = { "x-team" = "intern*" }, stream = true }
reject = { status = 403, message = "Ask without a stream." }

[[rule]]
name = "old-name"
when = { model = ["old/*"] }
rename = "test/m"

[[rule]]
name = "only-b"
when = { key = ["tester"], header = { "x-only" = "*" } }
constrain = { only = ["b"] }
"""


def test_rules_reject_rename_and_constrain_and_are_reloaded(run):
    weir = run("ab")
    expect.refused(weir.ask(model="old/name"), 400, "old/name is not a valid model ID")
    folder = weir.directory / "rules"
    folder.mkdir()
    (folder / "10.toml").write_text(RULES)
    settings = weir.conf / "weir.toml"
    settings.write_text(f'rules = "{folder}"\n' + settings.read_text())
    hangup(weir, "applied")

    team = [("x-team", "interns-2")]
    expect.refused(weir.ask(headers=team), 403, "Ask without a stream.")
    expect.whole(weir.ask(headers=team, stream=False))
    renamed = weir.ask(model="old/name")
    expect.whole(renamed)
    assert renamed.chunks[0]["model"] == "test/m"
    expect.row(renamed.rows(1)[0], "a", "ok", "reported", model="test/m")
    narrowed = weir.ask(headers=[("x-only", "1")], provider={"only": ["a", "b"]})
    assert [request["role"] for request in narrowed.seen()] == ["b"]
    expect.refused(weir.ask(headers=[("x-only", "1")], provider={"only": ["a"]}), 404)
    for rule, hits in (("no-interns", 1), ("old-name", 1), ("only-b", 2)):
        weir.settles(hits, "rule_hits_total", rule=rule)

    (folder / "10.toml").write_text(RULES.replace("rename", "renmae"))
    before = len(weir.log.read_text())
    hangup(weir, "rejected")
    assert "10.toml" in weir.logged("10.toml", before)
    expect.whole(weir.ask(model="old/name"))
    checked = weir.check()
    assert checked.returncode == 1 and "10.toml:" in checked.stderr + checked.stdout


# Probes


def test_an_address_that_fails_its_probes_is_down_and_no_longer_asked(run):
    """Free active checks: connect. Three failures take an address down (P20)."""
    dead = {"base_url": "http://127.0.0.1:1/v1", "extra": {"probe": "connect"}}
    weir = run("ab", a=dead, b={"extra": {"probe": {"get": "/v1/models"}}})
    deadline = time.monotonic() + 45
    while weir.metric("endpoints", provider="a", state="down") < 1:
        assert time.monotonic() < deadline, "not down"
        time.sleep(0.2)
    before = weir.metric("attempts_total", provider="a")
    expect.whole(weir.ask())
    assert weir.metric("attempts_total", provider="a") == before
    assert weir.metric("endpoints", provider="b", state="available") == 1
    secret = weir.deployment.providers[1].secret
    probes = weir.chaos.truth.lines("request", method="GET", target="/v1/models")
    assert any(["authorization", f"Bearer {secret}"] in probe["headers"] for probe in probes)


# What is shipped


def test_the_shipped_configuration_offers_models_by_several_real_providers():
    def tables(file: str, name: str) -> list[dict]:
        texts = [(ROOT / directory / file).read_text() for directory in ("conf", "conf/catalog")]
        return [table for text in texts for table in tomllib.loads(text)[name]]

    models = tables("models.toml", "model")
    providers = {entry["slug"] for entry in tables("providers.toml", "provider")}
    assert providers >= {"openai", "groq", "deepinfra", "together", "mistral", "vllm"}
    offered = [{endpoint["provider"] for endpoint in model["endpoint"]} for model in models]
    assert any(len(by) > 2 for by in offered) and set().union(*offered) == providers
    done = subprocess.run([binary(), "check", "--conf", str(ROOT / "conf")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_unit_waits_longer_than_the_drain():
    lines = [line.partition("=") for line in (ROOT / "systemd/weir.service").read_text().splitlines()]
    unit = {name: value for name, _, value in lines}
    assert unit["Type"] == "notify" and unit["ExecReload"].endswith("kill -HUP $MAINPID")
    assert any(name.lstrip("#") == "LoadCredential" for name in unit)
    drain = tomllib.loads((ROOT / "conf/weir.toml").read_text())["drain"]
    assert int(unit["TimeoutStopSec"].rstrip("s")) > int(drain.rstrip("m")) * 60

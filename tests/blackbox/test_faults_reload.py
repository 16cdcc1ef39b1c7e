"""Reloads: sixty and more broken configurations (F81) and a storm of signals (F82)."""

import json
import os
import signal
import time
import tomllib
from pathlib import Path

import expect
import pytest
from host import Host
from load import Load
from upstream import certificates
from weir import Weir, free_ports

CONFIG = Path(__file__).parents[1] / "config"
CANARY = "sk-canary-5f2e7d"
CASES = [
    (file, case) for file, cases in tomllib.loads((CONFIG / "cases.toml").read_text()).items() for case in cases
]


def prepare(home: Path) -> Path:
    """The good configuration of `tests/config`, with its secrets and with secret files that are wrong."""
    conf = home / "conf"
    (conf / "rules").mkdir(parents=True)
    certificates(home / "certs")
    pem = {name: (home / "certs" / f"{name}").read_text() for name in ("good.pem", "good.key", "unknown.key")}
    files = {
        "secret": (f"{CANARY}\n", 0o400), "open": (CANARY, 0o444), "empty": (" \n", 0o400),
        "two-lines": (f"{CANARY}\n{CANARY}\n", 0o400), "chain.pem": (pem["good.pem"], 0o444),
        "key.pem": (f"{CANARY}\n{pem['good.key']}", 0o400), "other.pem": (f"{CANARY}\n{pem['unknown.key']}", 0o400),
        "damaged.pem": (f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n", 0o400),
    }
    for name, (text, mode) in files.items():
        (conf / name).write_text(text)
        (conf / name).chmod(mode)
    return conf


@pytest.fixture
def good(run, chaos, tmp_path):
    """A Weir on the good configuration, and a way to write one of its files."""
    home = tmp_path / "good"
    host = Host(tmp_path)
    environment = host.environment | {"WEIR_TEST_SECRET": CANARY, "STATE_DIRECTORY": str(home / "state")}
    deployment = run("a").deployment
    weir = Weir(chaos, deployment, home, environment)
    weir.conf = prepare(home)
    weir.held, weir.token = [], CANARY
    ports = dict(zip(("8080", "8443", "8081"), free_ports(3, weir.held)))
    weir.port, weir.admin = ports["8080"], ports["8081"]

    def write(file: str, text: str) -> None:
        for shipped, free in ports.items():
            text = text.replace(f'"127.0.0.1:{shipped}"', f'"127.0.0.1:{free}"')
        (weir.conf / f"{file}.toml").write_text(text)

    for path in (CONFIG / "good").glob("*.toml"):
        write(path.stem, path.read_text())
    weir.launch()
    yield weir, write
    weir.stop()


def test_F81_every_broken_configuration_leaves_the_old_one(good):
    weir, write = good
    assert len(CASES) >= 60
    wrong = []
    for number, (file, case) in enumerate(CASES, 1):
        text = (CONFIG / "good" / f"{file}.toml").read_text()
        before, after = (part.replace("CANARY", CANARY) for part in case["edit"])
        broken = text.replace(before, after, 1)
        at = broken.index(case["place"][0].replace("CANARY", CANARY))
        line = broken.count("\n", 0, at) + 1
        write(file, broken)
        from_here = weir.log.stat().st_size
        weir.process.send_signal(signal.SIGHUP)
        weir.settles(number, "reload_total", result="rejected")
        write(file, text)
        said = weir.logged("rejected", from_here)
        lines = [entry for entry in said.splitlines() if "rejected" in entry]
        if len(lines) != 1 or f"{file}.toml:{line}: {case['place'][1]}: " not in json.loads(lines[0])["message"]:
            wrong.append((case["name"], lines))
        assert CANARY not in said, case["name"]
    assert not wrong, wrong[:5]
    assert weir.metric("config_epoch") == 1, "nothing was applied in part"
    weir.process.send_signal(signal.SIGHUP)
    weir.settles(1, "reload_total", result="applied")


def held_by(weir) -> tuple[int, int, int]:
    """File descriptors, threads and resident bytes."""
    proc = Path(f"/proc/{weir.process.pid}")
    fields = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return len(os.listdir(proc / "fd")), int(fields["Threads"]), int(fields["VmRSS"].split()[0]) * 1024


def test_F82_a_storm_of_signals_coalesces_and_the_last_file_wins(run):
    weir = run("ab", a={"first_content": "5s", "idle": "5s"})
    models = weir.conf / "models.toml"
    text = models.read_text()
    sent = 1_000
    with Load(weir, seed=82, callers=4) as load:
        time.sleep(0.3)
        before = held_by(weir)
        for number in range(sent):
            if number % 50 == 0:
                models.with_suffix(".new").write_text(text + f'\n[[model]]\nslug = "test/v{number}"\n' + endpoint(text))
                models.with_suffix(".new").rename(models)
            weir.process.send_signal(signal.SIGHUP)
            time.sleep(0.004)
        models.write_text(text.replace("test/m", "test/last"))
        weir.process.send_signal(signal.SIGHUP)
        load.stop()
    weir.settles(0, "in_flight")
    deadline = time.monotonic() + 5
    while weir.ask(model="test/last").status != 200:
        assert time.monotonic() < deadline, "the last file does not win"
    calls = [call for call in load.calls if call.status != 400]
    assert len(calls) > 100
    assert [call for call in calls if not call.whole] == []
    applied = weir.metric("reload_total", result="applied")
    assert 1 <= applied <= sent + 1 and weir.metric("reload_total", result="rejected") == 0
    after = held_by(weir)
    assert after[0] <= before[0] + 24, f"file descriptors: {before} {after}"
    assert after[1] <= before[1] + 8, f"threads: {before} {after}"
    assert after[2] <= before[2] + (48 << 20), f"resident bytes: {before} {after}"
    expect.whole(weir.ask(model="test/last"))


def endpoint(text: str) -> str:
    """The first endpoint of a models file, as another model's."""
    block = text.split("[[model.endpoint]]", 2)[1]
    return 'name = "x"\ncontext_length = 1000\n[[model.endpoint]]' + block

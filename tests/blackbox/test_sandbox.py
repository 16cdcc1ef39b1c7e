"""The unit: how little it leaves to Weir (S28), and that Weir serves with what it leaves."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import expect
import pytest
from weir import binary

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd/weir.service"
SANDBOX = ROOT / "tests/sandbox/weir"
EXPOSURE = 1.5

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="building the sandbox takes root")


@needs_systemd
def test_S28_the_units_exposure():
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    level = re.search(r"Overall exposure level for weir.service: ([0-9.]+)", done.stdout)
    assert level, done.stdout[-500:] + done.stderr
    assert float(level[1]) <= EXPOSURE, done.stdout


@pytest.fixture
def sandboxed(monkeypatch) -> None:
    """Every Weir of the test runs under the unit's restrictions."""
    if "WEIR_SANDBOXED" not in os.environ:
        monkeypatch.setenv("WEIR_SANDBOXED", str(binary()))
        monkeypatch.setenv("WEIR_BIN", str(SANDBOX))


@needs_systemd
@needs_root
def test_S28_weir_serves_under_the_units_restrictions(sandboxed, run):
    weir = run("ab", {"listener": {"h2c": True}})
    process = Path("/proc") / str(weir.process.pid)
    status = dict(re.findall(r"^(\w+):\s+(.*)$", (process / "status").read_text(), re.M))
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    held = (process / "limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", held), held
    for path in expect.BOTH_FACES:
        for stream in (True, False):
            answer = weir.ask(path=path, stream=stream)
            expect.whole(answer)
            answer.rows(1)
    weir.ask({"a": {"status": 500}}).rows(2)
    weir.process.send_signal(signal.SIGHUP)
    weir.settles(1, "reload_total", result="applied")
    weir.kill()
    weir.launch()
    expect.whole(weir.ask())
    weir.stop()
    said = weir.log.read_text()
    assert not re.search(r"\bWARN\b|\bERROR\b|not permitted|denied", said), said[-2000:]


PROBE = """
import ctypes, errno, mmap, os, socket
def fails(what, call, *codes):
    try:
        call()
    except OSError as error:
        assert error.errno in codes, (what, error)
    else:
        raise SystemExit(f"{what} is possible")
libc = ctypes.CDLL(None, use_errno=True)
def checked(code):
    if code == -1:
        raise OSError(ctypes.get_errno(), "")
libc.mmap.restype = ctypes.c_ssize_t
assert os.getuid() == 61184, os.getuid()
no = (errno.EPERM, errno.EACCES, errno.EROFS)
open("/tmp/probe", "w").close()
fails("writing to /etc", lambda: open("/etc/probe", "w"), *no)
fails("writing beside the state", lambda: open("/var/lib/probe", "w"), *no)
fails("a packet socket", lambda: socket.socket(17, socket.SOCK_RAW), errno.EAFNOSUPPORT)
fails("a netlink socket", lambda: socket.socket(16, socket.SOCK_RAW), errno.EAFNOSUPPORT)
fails("writable code", lambda: checked(libc.mmap(0, 4096, 7, 0x22, -1, 0)), errno.EPERM)
fails("a namespace", lambda: checked(libc.unshare(0x10000000)), errno.EPERM)
fails("a mount", lambda: checked(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)), errno.EPERM)
fails("a foreign owner", lambda: os.chown("/tmp/probe", 1, 1), *no)
fails("a setuid bit", lambda: os.chmod("/tmp/probe", 0o4755), *no)
fails("tracing", lambda: checked(libc.ptrace(0, 0, 0, 0)), errno.EPERM)
fails("real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)), *no)
assert not os.path.exists("/proc/1"), "other processes are seen"
assert sorted(os.listdir("/dev")) == ["full", "null", "random", "tty", "urandom", "zero"]
"""


@needs_systemd
@needs_root
def test_the_sandbox_holds():
    """Or the suite under it would show nothing."""
    environment = os.environ | {"WEIR_SANDBOXED": shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin")}
    done = subprocess.run([SANDBOX, "-I", "-c", PROBE], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr

"""Hosts that run short: control groups, a network of its own with few ports, a small disk."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CGROUPS = Path("/sys/fs/cgroup")
CLONE_NEWNET = 0x4000_0000
LIBC = ctypes.CDLL(None, use_errno=True)

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def controller(name: str) -> pytest.MarkDecorator:
    """For tests that need a controller of cgroup v1."""
    there = os.geteuid() == 0 and (CGROUPS / name / "cgroup.procs").exists()
    return pytest.mark.skipif(not there, reason=f"needs root and the {name} controller of cgroup v1")


@contextlib.contextmanager
def cgroup(name: str, **limits: int) -> Iterator[tuple[Path, list[str]]]:
    """A control group with these limits, and what a program is started through to be in it."""
    place = CGROUPS / name / f"weir-test-{secrets.token_hex(6)}"
    place.mkdir()
    try:
        for key, value in limits.items():
            (place / f"{name}.{key}").write_text(str(value))
        yield place, ["sh", "-c", f'echo $$ > {place}/cgroup.procs && exec "$@"', "sh"]
    finally:
        # A test that failed has left its processes there.
        for pid in (place / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        deadline = time.monotonic() + 5
        while True:
            try:
                place.rmdir()
                break
            except OSError:
                assert time.monotonic() < deadline, "somebody is still in the control group"
                time.sleep(0.05)


@contextlib.contextmanager
def network(ports: int) -> Iterator[None]:
    """This thread, and what it starts, in a network of its own with so many local ports."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _checked(LIBC.unshare(CLONE_NEWNET))
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"20000 {20000 + ports - 1}")
        yield
    finally:
        _checked(LIBC.setns(home, CLONE_NEWNET))
        os.close(home)


def _checked(code: int) -> None:
    if code != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def disk(place: Path, size: int) -> Iterator[Path]:
    """A disk of so many bytes mounted at `place`."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def busy_seconds(pid: int) -> float:
    """Processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

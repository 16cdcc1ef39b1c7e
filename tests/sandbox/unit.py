"""Reads the unit: its directives, and the system calls that its filter allows."""

from __future__ import annotations

import subprocess
from pathlib import Path

UNIT = Path(__file__).parents[2] / "systemd/weir.service"


def service(path: Path = UNIT) -> dict[str, list[str]]:
    """The values of every directive of `[Service]`, in order."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in path.read_text().splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        elif line and line[0] not in "#;" and section == "[Service]":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def groups() -> dict[str, list[str]]:
    """What systemd's names for sets of system calls stand for."""
    text = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("@"):
            current = found.setdefault(line.strip(), [])
        elif line.startswith(" ") and not line.lstrip().startswith("#"):
            current.append(line.strip())
    return found


def expand(names: list[str], known: dict[str, list[str]]) -> set[str]:
    """System calls behind names and groups of names."""
    found = set()
    for name in names:
        found |= expand(known[name], known) if name.startswith("@") else {name}
    return found


def allowed(lines: list[str], known: dict[str, list[str]]) -> set[str]:
    """What `SystemCallFilter=` lines leave, the first of which allows (systemd.exec, SystemCallFilter=)."""
    calls = expand(["@default"], known)
    for line in lines:
        names = line.removeprefix("~").split()
        calls = calls - expand(names, known) if line.startswith("~") else calls | expand(names, known)
    return calls | expand(["@default"], known)

"""The file system as the unit leaves it: read-only but for what Weir is told to write."""

from __future__ import annotations

import ctypes
import os
import tomllib
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NAMESPACE, NEW_USER = 0x20000, 0x10000000
NOSUID, NODEV, NOEXEC, BIND, RECURSIVE, PRIVATE = 2, 4, 8, 0x1000, 0x4000, 0x40000
READ_ONLY, NO_SUID = 0x1, 0x2
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
HIDDEN = ["/tmp", "/var/tmp", "/home", "/root", "/run/user"]
DEVICES = ["null", "zero", "full", "random", "urandom", "tty"]


class Attributes(ctypes.Structure):
    """`struct mount_attr`."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user")]


def _done(code: int, what: str) -> None:
    if code != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def unshare(flags: int) -> None:
    _done(LIBC.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    arguments = [source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()]
    _done(LIBC.mount(*arguments), f"mount {target}")


def attributes(target: str, recursive: bool = False, set: int = 0, clear: int = 0) -> None:
    change = Attributes(set, clear, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    arguments = [ctypes.c_long(MOUNT_SETATTR), AT_FDCWD, target.encode(), flags, ctypes.byref(change)]
    _done(LIBC.syscall(*arguments, ctypes.c_size_t(ctypes.sizeof(change))), f"mount_setattr {target}")


def written(conf: Path) -> list[Path]:
    """Directories that the configuration lets Weir write: what the unit has as its state and run-time
    directories."""
    try:
        settings = tomllib.loads((conf / "weir.toml").read_text())
    except (OSError, ValueError):
        return []  # Weir says what is wrong with it
    found = [conf / settings.get("state_directory", "state")]
    if sqlite := settings.get("ledger", {}).get("sqlite"):
        found.append((conf / sqlite).parent)
    blocks = [settings.get("admin", {}), *settings.get("listener", [])]
    for block in blocks:
        if str(address := block.get("address", "")).startswith("unix:"):
            found.append(Path(address.removeprefix("unix:")).parent)
    return found


def enclose(writable: list[Path], readable: list[Path]) -> None:
    """A mount namespace in which all is read-only but `writable`, and private places show nothing but
    what is named."""
    for path in writable:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    unshare(NEW_NAMESPACE)
    mount("none", "/", "", RECURSIVE | PRIVATE)
    # What lies in a private place is reached by descriptor once that is covered.
    # Sorted: a folder is covered before what lies in it.
    writable, readable = (sorted(path.resolve() for path in paths) for paths in (writable, readable))
    opened = {path: os.open(path, os.O_PATH) for path in [*readable, *writable]}
    devices = {name: os.open(f"/dev/{name}", os.O_PATH) for name in DEVICES}
    private = [place for place in HIDDEN if os.path.isdir(place) and not os.path.islink(place)]
    for place in private:
        mount("tmpfs", place, "tmpfs", NOSUID | NODEV, "mode=1777" if "tmp" in place else "mode=0755")
    mount("tmpfs", "/dev", "tmpfs", NOSUID | NOEXEC, "mode=0755")
    for name, descriptor in devices.items():
        Path("/dev", name).touch()
        mount(f"/proc/self/fd/{descriptor}", f"/dev/{name}", "", BIND)
    for path, descriptor in opened.items():
        if path in writable or any(path.is_relative_to(place) for place in private):
            if not path.exists():
                path.mkdir(parents=True) if os.path.isdir(f"/proc/self/fd/{descriptor}") else _file(path)
            mount(f"/proc/self/fd/{descriptor}", str(path), "", BIND | RECURSIVE)
    attributes("/", recursive=True, set=READ_ONLY | NO_SUID)
    for place in [*(place for place in private if "tmp" in place), "/dev", *map(str, writable)]:
        attributes(place, clear=READ_ONLY)
    # `gid` names who sees all the same: by default root's group, which is ours outside.
    mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC, "subset=pid,hidepid=invisible,gid=65534")
    for descriptor in [*opened.values(), *devices.values()]:
        os.close(descriptor)


def _file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()

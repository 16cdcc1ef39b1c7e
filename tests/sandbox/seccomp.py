"""System-call filters as systemd builds them from a unit, through libseccomp."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import stat

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NOT_EQUAL, EQUAL, GREATER, MASKED = 1, 4, 6, 7
EXECUTABLE_SEGMENT = 0o100000
NAMESPACES = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80]
FAMILIES = 46


class Compare(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
library.seccomp_init.restype = ctypes.c_void_p
library.seccomp_init.argtypes = [ctypes.c_uint32]
library.seccomp_load.argtypes = [ctypes.c_void_p]
library.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Compare)]


class Filter:
    """One filter; several are stacked, and the strictest wins."""

    def __init__(self, default: int) -> None:
        self.context = library.seccomp_init(default)
        assert self.context, "libseccomp has no memory"

    def rule(self, action: int, name: str, *compare: tuple) -> None:
        """Adds one; a call that this machine does not have needs none."""
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return
        rows = (Compare * len(compare))(*(Compare(*row) for row in compare))
        code = library.seccomp_rule_add_array(self.context, action, number, len(compare), rows)
        assert code == 0, f"{name}: {os.strerror(-code)}"

    def load(self) -> None:
        code = library.seccomp_load(self.context)
        assert code == 0, os.strerror(-code)


def has(arg: int, bits: int) -> tuple:
    """All these bits are set in an argument."""
    return (arg, MASKED, bits, bits)


def refusals(directives: dict[str, list[str]], groups: dict[str, list[str]]) -> Filter:
    """What single directives forbid, each by the rules that systemd turns it into."""
    filter, eperm = Filter(ALLOW), ERRNO | errno.EPERM

    def forbids(directive: str, *rules: tuple) -> None:
        if directives.get(directive, ["no"])[-1] == "yes":
            for name, *compare in rules:
                filter.rule(eperm, name, *compare)

    def calls(*names: str) -> list[tuple]:
        return [(call,) for name in names for call in (groups[name] if name[0] == "@" else [name])]

    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    forbids("MemoryDenyWriteExecute", ("mmap", has(2, both)), ("mprotect", has(2, mmap.PROT_EXEC)),
            ("pkey_mprotect", has(2, mmap.PROT_EXEC)), ("shmat", has(2, EXECUTABLE_SEGMENT)))
    forbids("RestrictNamespaces", *calls("setns"), *((call, has(0, flag)) for flag in NAMESPACES for call in ("clone", "unshare")))
    if directives.get("RestrictNamespaces") == ["yes"]:
        filter.rule(ERRNO | errno.ENOSYS, "clone3")
    forbids("RestrictRealtime", *(("sched_setscheduler", (1, EQUAL, policy, 0)) for policy in (os.SCHED_FIFO, os.SCHED_RR)))
    modes = [("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2), ("creat", 1)]
    for bit in (stat.S_ISUID, stat.S_ISGID):
        forbids("RestrictSUIDSGID", *((call, has(arg, bit)) for call, arg in modes),
                ("open", has(1, os.O_CREAT), has(2, bit)), ("openat", has(2, os.O_CREAT), has(3, bit)))
    forbids("LockPersonality", ("personality", (0, NOT_EQUAL, 0, 0)))
    forbids("ProtectClock", *calls("@clock"))
    forbids("ProtectHostname", *calls("sethostname", "setdomainname"))
    forbids("ProtectKernelLogs", *calls("syslog"))
    forbids("ProtectKernelModules", *calls("@module"))
    forbids("PrivateDevices", *calls("@raw-io"))
    if families := directives.get("RestrictAddressFamilies"):
        allowed = {int(getattr(socket, name)) for line in families for name in line.split()}
        for family in set(range(FAMILIES)) - allowed:
            filter.rule(ERRNO | errno.EAFNOSUPPORT, "socket", (0, EQUAL, family, 0))
        filter.rule(ERRNO | errno.EAFNOSUPPORT, "socket", (0, GREATER, FAMILIES - 1, 0))
    return filter


def only(calls: set[str], error: str) -> Filter:
    """Nothing but these calls; others fail with this error."""
    filter = Filter(ERRNO | getattr(errno, error))
    for call in sorted(calls):
        filter.rule(ALLOW, call)
    return filter

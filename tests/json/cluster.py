"""A PostgreSQL cluster of the test's own: a temporary folder, a Unix socket, no network."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

DEADLINE = 60.0


class Client(NamedTuple):
    """Where a cluster listens; may go to another process."""

    socket: str

    def run(self, script: str) -> str:
        """What psql prints for the script, rows alone; an error in it raises."""
        command = [_tool("psql"), "-h", self.socket, "-U", "judge", "-d", "postgres",
                   "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        ran = subprocess.run(command, input=script.encode(), capture_output=True, check=False)
        if ran.returncode:
            raise RuntimeError(ran.stderr.decode())
        return ran.stdout.decode()


class Postgres:
    """Made and started by entering, which gives its client; stopped and removed by leaving."""

    def __init__(self) -> None:
        # A Unix socket's path has at most 107 bytes: not below the test's own long folder.
        self._home = Path(tempfile.mkdtemp(prefix="weir-pg"))
        self._server: subprocess.Popen | None = None
        # The server refuses to run as root.
        self._user = _unprivileged() if os.geteuid() == 0 else None
        if self._user:
            os.chown(self._home, self._user.pw_uid, self._user.pw_gid)

    def __enter__(self) -> Client:
        try:
            return self._start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._server:
            self._server.terminate()
            try:
                self._server.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def _start(self) -> Client:
        data = str(self._home / "data")
        made = self._as_user([_tool("initdb"), "-D", data, "-U", "judge", "-A", "trust", "-E", "UTF8",
                              "--no-locale", "--no-sync"], stdout=subprocess.DEVNULL)
        if made.wait(DEADLINE):
            raise RuntimeError("initdb failed")
        self._server = self._as_user(
            [_tool("postgres"), "-D", data, "-k", str(self._home), "-c", "listen_addresses=",
             "-c", "fsync=off", "-c", "autovacuum=off", "-c", "log_min_messages=fatal"])
        deadline = time.monotonic() + DEADLINE
        ready = [_tool("pg_isready"), "-q", "-h", str(self._home), "-U", "judge", "-d", "postgres"]
        while subprocess.run(ready, check=False).returncode:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("postgres did not start")
            time.sleep(0.05)
        client = Client(str(self._home))
        client.run((Path(__file__).parent / "judge.sql").read_text())
        return client

    def _as_user(self, command: list[str], **options: object) -> subprocess.Popen:
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        return subprocess.Popen(command, cwd=self._home, **user, **options)


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no unprivileged user to run PostgreSQL as")


def _tool(name: str) -> str:
    """Debian keeps the server's own programs out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    path = str(found[-1]) if found else shutil.which(name)
    if not path:
        raise RuntimeError(f"{name} is missing: install postgresql")
    return path

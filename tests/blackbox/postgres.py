"""A PostgreSQL server of a test's own, on a Unix socket."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from weir import free_ports

HOMES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
USER = {"user": "postgres"} if os.geteuid() == 0 else {}


class Postgres:
    """Started by `start`; its files go with `remove`."""

    def __init__(self) -> None:
        self.bin, self.port, self.held = HOMES[-1].parent, 5432, []
        self.home = Path(tempfile.mkdtemp(prefix="weir-pg-"))
        if USER:
            shutil.chown(self.home, "postgres")
        self._do(self.bin / "initdb", "-D", self.home / "data", "-U", "postgres", "-A", "trust", "-N")
        self.start()

    def _do(self, *command: object) -> None:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd="/", **USER)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    @property
    def url(self) -> str:
        return f"postgresql:///postgres?host={self.home}&user=postgres"

    def encrypted(self, certificates: Path, leaf: str) -> str:
        """Starts it again with TLS, on a TCP port of its own; the URL."""
        self.stop()
        for end in ("pem", "key"):
            file = shutil.copy(certificates / f"{leaf}.{end}", self.home / f"server.{end}")
            if USER:
                shutil.chown(file, "postgres")
            os.chmod(file, 0o600)
        if not self.held:
            (self.port,) = free_ports(1, self.held)
        self.start("-c", "listen_addresses=localhost", "-c", "ssl=on",
                   "-c", f"ssl_cert_file={self.home}/server.pem", "-c", f"ssl_key_file={self.home}/server.key")
        return f"postgresql://postgres@localhost:{self.port}/postgres?sslmode=require"

    def start(self, *more: str) -> None:
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.home}", "-c", "fsync=off",
                   "-p", str(self.port), *more]
        with open(self.home / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.home / "data", *options],
                stdout=log, stderr=log, cwd="/", **USER,
            )
        deadline = time.monotonic() + 20
        while subprocess.run([self.bin / "pg_isready", "-qh", self.home, "-p", str(self.port)]).returncode != 0:
            assert self.process.poll() is None, (self.home / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT ends it at once, as a crash would; SIGKILL takes every process of it."""
        if self.process.poll() is not None:
            return
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.process.send_signal(how)
        if how == signal.SIGKILL:
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), how)
        self.process.wait(timeout=20)
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
            time.sleep(0.01)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.home)

    def ask(self, sql: str) -> list[list[str]]:
        """Rows of a query."""
        command = ["psql", "-h", self.home, "-p", str(self.port), "-U", "postgres", "-AtXqF", "\t", "-v", "ON_ERROR_STOP=1", "-c", sql]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def count(self) -> int:
        return int(self.ask("select count(*) from weir.attempt")[0][0])

    def hash(self) -> str:
        """Of every row in order of its key."""
        return self.ask("select md5(string_agg(a::text, '|' order by node, epoch, seq)) from weir.attempt a")[0][0]

"""A NATS server of a test's own, with JetStream, on a loopback port that it keeps."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from weir import free_ports

SERVER = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")


class Nats:
    """Started by `start`; its files go with `remove`."""

    def __init__(self) -> None:
        self.more: list[str] = []
        """Further words of the command, from its next start on."""
        self.held: list = []
        self.port, self.monitor = free_ports(2, self.held)
        self.home = Path(tempfile.mkdtemp(prefix="weir-nats-"))
        self.start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [SERVER, "-a", "127.0.0.1", "-p", self.port, "-m", self.monitor, "-js", "-sd", self.home, *self.more]
        with open(self.home / "log", "ab") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            try:
                if self.more:
                    socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                else:
                    self.request("$JS.API.INFO")
                return
            except (OSError, AssertionError):
                assert self.process.poll() is None, (self.home / "log").read_text()
                assert time.monotonic() < deadline, "NATS does not start"
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=20)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.home)

    def messages(self, stream: str = "weir") -> int:
        """How many messages a stream holds."""
        place = f"http://127.0.0.1:{self.monitor}/jsz?streams=true"
        with urllib.request.urlopen(place, timeout=5) as reply:
            accounts = json.load(reply).get("account_details") or []
        streams = [found for account in accounts for found in account.get("stream_detail") or []]
        return sum(found["state"]["messages"] for found in streams if found["name"] == stream)

    def count(self, subjects: str, stream: str = "weir") -> int:
        """How many of them go to these subjects."""
        asked = {"subjects_filter": subjects}
        return sum(self.request(f"$JS.API.STREAM.INFO.{stream}", asked)["state"].get("subjects", {}).values())

    def request(self, subject: str, payload: object = None, headers: dict[str, str] | None = None) -> dict:
        """Asks JetStream, or publishes to a stream, and gives the answer; bytes go as they are."""
        body = payload if isinstance(payload, bytes) else b"" if payload is None else json.dumps(payload).encode()
        verb, sizes = "PUB", str(len(body))
        if headers:
            head = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
            body = head.encode() + body
            verb, sizes = "HPUB", f"{len(head)} {len(body)}"
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            file = sock.makefile("rb")
            assert file.readline().startswith(b"INFO ")
            sock.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB _INBOX.test 1\r\n'
                         + f"{verb} {subject} _INBOX.test {sizes}\r\n".encode() + body + b"\r\n")
            while line := file.readline():
                if line.startswith(b"MSG "):
                    return json.loads(file.read(int(line.split()[-1])))
                if line.startswith(b"PING"):
                    sock.sendall(b"PONG\r\n")
        raise AssertionError(f"no answer to {subject}")

    def size(self, subject: str, stream: str = "weir") -> int:
        """Bytes of the newest message of a subject."""
        message = self.request(f"$JS.API.STREAM.MSG.GET.{stream}", {"last_by_subj": subject})["message"]
        return sum(len(base64.b64decode(message.get(part, ""))) for part in ("hdrs", "data"))

    def update(self, stream: str = "weir", **changes: object) -> None:
        """Changes a stream's configuration."""
        config = self.request(f"$JS.API.STREAM.INFO.{stream}")["config"] | changes
        answer = self.request(f"$JS.API.STREAM.UPDATE.{stream}", config)
        assert "error" not in answer, answer

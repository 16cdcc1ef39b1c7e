"""Runs the real binary on a configuration of the test's own, and asks it things."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import chaos as chaos_module
import conf
from client import Raw, Reply
from ledger import Ledger, Row
from upstream import Upstream

PROMPT = "canary-prompt-"
PATIENCE = 20.0
"""Seconds until what must come to pass on a busy machine has not."""
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
FAMILIES = Path(__file__).parents[2] / "src/metrics/families.rs"
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def binary() -> Path:
    """The binary under test."""
    return Path(os.environ.get("WEIR_BIN") or Path(__file__).parents[2] / "target/release/weir")


@dataclass
class Answer:
    """A reply with what led to it."""

    id: str
    sent: bytes
    reply: Reply
    weir: Weir

    def __getattr__(self, name: str) -> object:
        return getattr(self.reply, name)

    def rows(self, count: int) -> list[Row]:
        """Its attempts in the ledger: exactly `count`."""
        return self.weir.ledger.wait(count, session=self.id)

    def seen(self, role: str | None = None) -> list[dict]:
        """What arrived at the chaos upstream for it."""
        return self.weir.chaos.truth.requests(self.id, role)


@dataclass
class Weir:
    """One running Weir."""

    chaos: Upstream
    deployment: conf.Deployment
    directory: Path
    environment: dict[str, str | None] = field(default_factory=dict)
    """Variables beside the test's own; None takes one away."""
    prefix: list[str] = field(default_factory=list)
    """What the binary is started through, such as prlimit."""
    canary: str = field(default_factory=lambda: PROMPT + secrets.token_hex(12))
    launches: int = 0
    power_cut: bool = False
    lost: int = 0
    """Rows that a test took from the spool, so that no sink gets them."""
    token: str | None = None
    """Of the operators' listener."""
    asked_for: set[str] = field(default_factory=set)
    """Ids of bodies whose rows carry them as session."""

    def start(self) -> Weir:
        self.held: list = []
        self.port, self.admin = free_ports(2, self.held)
        self.conf = conf.write(self.deployment, self.chaos.port, self.port, self.admin, self.directory)
        return self.launch()

    def launch(self, wait: bool = True) -> Weir:
        """Starts the process, on the files as they are now."""
        self.launches += 1
        self.log = self.directory / "stderr.log"
        self.ledger = Ledger(self.directory / "state" / "ledger.sqlite")
        environment = {"RUST_LOG": "trace"} | os.environ | self.environment
        environment = {name: value for name, value in environment.items() if value is not None}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, binary(), "run", "--conf", self.conf], stdout=log, stderr=log, env=environment
            )
        if wait:
            self._wait()
        return self

    def is_ready(self) -> bool:
        """What /readyz says."""
        try:
            self.get_admin("/readyz")
        except OSError:
            return False
        return True

    def _wait(self) -> None:
        """Until both listeners answer; that readiness means as much has a test of its own."""
        deadline = time.monotonic() + 60
        while not (self.is_ready() and self._accepts()):
            log = self.log.read_text()[-2000:]
            assert self.running(), f"Weir ended: {log}"
            assert time.monotonic() < deadline, f"not ready after 60 s: {log}"
            time.sleep(0.01)

    def _accepts(self) -> bool:
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """SIGTERM, a clean exit, and nothing said that must not be."""
        metrics = self.get_admin("/metrics") if self.process.poll() is None else ""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("no end 20 s after SIGTERM") from None
        log = self.log.read_text(errors="replace")
        assert code == 0, f"exit {code}: {log[-2000:]}"
        for text in (log, metrics):
            self.no_secret(text)
        assert "panicked" not in log, log[-2000:]

    def running(self) -> bool:
        return hasattr(self, "process") and self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def check(self) -> subprocess.CompletedProcess:
        """`weir check` on the files as they are now."""
        command = [*self.prefix, binary(), "check", "--conf", self.conf]
        return subprocess.run(command, capture_output=True, text=True, timeout=10)

    def logged(self, text: str, after: int = 0) -> str:
        """What was logged from this offset on, once it holds the text."""
        deadline = time.monotonic() + PATIENCE
        while text not in (said := self.log.read_text()[after:]):
            assert time.monotonic() < deadline, f"{text} is not in the log: {said[-2000:]}"
            time.sleep(0.02)
        return said

    def no_secret(self, text: str) -> None:
        """Neither prompt nor key nor provider secret may stand in this text (S20)."""
        canaries = [self.canary, self.deployment.key, *(p.secret for p in self.deployment.providers)]
        for canary in canaries:
            at = text.find(canary)
            assert at < 0, f"a secret got out: ...{text[max(0, at - 200):at]}"

    def get_admin(self, path: str) -> str:
        asked = urllib.request.Request(f"http://127.0.0.1:{self.admin}{path}")
        if self.token:
            asked.add_header("authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(asked, timeout=5) as reply:
            return reply.read().decode()

    # Asking

    @property
    def bearer(self) -> tuple[str, str]:
        return ("authorization", f"Bearer {self.deployment.key}")

    def connect(self, timeout: float = 10.0, room: int = 0) -> Raw:
        return Raw(self.port, timeout, room)

    def body(self, roles: dict | None = None, **fields: object) -> tuple[str, bytes]:
        """A body scripted for the chaos upstream, with its id: session in the row, id in the truth."""
        id = "s" + secrets.token_hex(10)
        document = {
            "model": self.deployment.models[0].slug,
            "messages": [{"role": "user", "content": f"{self.canary} wörld"}],
            "session_id": id,
        } | fields | {"x_chaos": {"id": id} | (roles or {})}
        document = {key: value for key, value in document.items() if value is not None}
        if document.get("session_id") == id:
            self.asked_for.add(id)
        return id, json.dumps(document, ensure_ascii=False).encode()

    def ask(self, roles: dict | None = None, *, path: str = "/api/v1/chat/completions",
            stream: bool = True, headers: list | None = None, chunk: int = 0, timeout: float = 10.0,
            **fields: object) -> Answer:
        """One request on a connection of its own, read to its end."""
        id, body = self.body(roles, stream=stream, **fields)
        with self.connect(timeout) as raw:
            reply = raw.ask("POST", path, [self.bearer, *(headers or [])], body, chunk)
        return Answer(id, body, reply, self)

    @contextmanager
    def asking(self, roles: dict | None = None, *, path: str = "/api/v1/chat/completions",
               stream: bool = True, **fields: object) -> Iterator[tuple[str, Raw]]:
        """A request that was sent and whose answer the test reads by itself."""
        id, body = self.body(roles, stream=stream, **fields)
        with self.connect() as raw:
            raw.send(request(path, [self.bearer], body))
            yield id, raw

    def rows(self, id: str, count: int) -> list[Row]:
        return self.ledger.wait(count, session=id)

    # Metrics

    def metrics(self) -> list[tuple[str, dict[str, str], float]]:
        found = []
        for line in self.get_admin("/metrics").splitlines():
            if match := SAMPLE.match(line):
                found.append((match[1], dict(LABEL.findall(match[2] or "")), float(match[3])))
        return found

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of a family whose labels have these values."""
        family = re.sub("_(count|sum|bucket)$", "", f"weir_{name}")
        assert f'"{family}"' in FAMILIES.read_text(), f"there is no metric {family}"
        return sum(
            value for family, at, value in self.metrics()
            if family == f"weir_{name}" and all(at.get(key) == want for key, want in labels.items())
        )

    def settles(self, want: float, name: str, **labels: str) -> None:
        """The metric comes to this value; counting may end a moment after the answer."""
        deadline = time.monotonic() + PATIENCE
        while (is_now := self.metric(name, **labels)) != want and time.monotonic() < deadline:
            time.sleep(0.02)
        assert is_now == want, f"weir_{name}{labels} is {is_now}, not {want}"


def request(path: str, headers: list, body: bytes) -> bytes:
    """A POST with a Content-Length."""
    from client import head

    return head("POST", path, [("host", "weir"), *headers, ("content-length", str(len(body)))]) + body


def free_ports(count: int, held: list) -> list[int]:
    """Ports nobody listens at, and none but the caller will as long as `held` lives."""
    ports = []
    while len(ports) < count:
        with chaos_module.listening() as sock:
            port = sock.getsockname()[1]
        try:
            held.append(chaos_module.reserved(port))
        except OSError:
            continue
        ports.append(port)
    return ports

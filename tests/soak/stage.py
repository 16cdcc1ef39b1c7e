"""What the long measurements share: a fresh Weir, its resident memory over time, and one line of JSON."""

from __future__ import annotations

import json
import os
import platform
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))

import conf  # noqa: E402
from h2client import H2Caller  # noqa: E402
from test_listeners import install, trusting  # noqa: E402
from upstream import Upstream  # noqa: E402
from weir import Weir  # noqa: E402

PAGE = os.sysconf("SC_PAGE_SIZE")
PATIENT = {"first_content": "120s", "idle": "120s", "total": "300s"}


class Stage:
    """The chaos upstream, and as many Weirs one after the other as are asked for."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory()
        self.home = Path(self._home.name)
        self.chaos = Upstream(self.home / "chaos")
        self.started = 0

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.chaos.stop()
        self._home.cleanup()

    @property
    def trust(self) -> ssl.SSLContext:
        return trusting(self.chaos, ["h2"])

    @contextmanager
    def weir(self, tls: bool = False, **settings: object) -> Iterator[Weir]:
        """A Weir that serves h2c, or TLS; ended when the block is left."""
        home = self.home / f"weir{self.started}"
        home.mkdir()
        self.started += 1
        listener: dict[str, object] = {"h2c": True}
        if tls:
            files = {"certificate": home / "chain.pem", "key": home / "key.pem"}
            install(self.chaos, "good", files)
            listener = {"tls": {name: str(path) for name, path in files.items()}}
        deployment = conf.Deployment([conf.Provider("a", **PATIENT)], [conf.Model("test/m", ["a"])],
                                     {"listener": listener} | settings)
        weir = Weir(self.chaos, deployment, home, {"RUST_LOG": os.environ.get("RUST_LOG", "info")})
        weir.start()
        try:
            yield weir
            weir.stop()
        finally:
            if weir.running():
                weir.kill()


def warm(weir: Weir, times: int = 20) -> None:
    """Whole requests on both protocols, so that what is made at first use has been made."""
    if "tls" in weir.deployment.settings["listener"]:
        return
    for _ in range(times):
        assert weir.ask(stream=False).status == 200
        with H2Caller(weir.port) as caller:
            _, body = weir.body(stream=True)
            asked = caller.post("/v1/chat/completions", [weir.bearer], body)
            caller.until(asked, b"[DONE]")


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


class Growth(threading.Thread):
    """The most resident memory a process has had since this began, beyond what it had then."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.before = self.most = resident(pid)
        self.stopping = threading.Event()

    def __enter__(self) -> Growth:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.join()

    def run(self) -> None:
        while not self.stopping.wait(0.005):
            self.most = max(self.most, self.now() + self.before)

    def now(self) -> int:
        return resident(self.pid) - self.before

    @property
    def peak(self) -> int:
        return max(self.most - self.before, 0)

    def settled(self, below: int, seconds: float) -> int:
        """Growth once it is below, or at the end of the time."""
        until = time.monotonic() + seconds
        while self.now() > below and time.monotonic() < until:
            time.sleep(0.05)
        return self.now()


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return f"{name or platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"


def report(name: str, ok: bool, **found: object) -> None:
    """The one JSON object each script of this directory prints last; ends the process."""
    print(json.dumps({"name": name, "ok": ok, "machine": machine()} | found))
    sys.exit(0 if ok else 1)

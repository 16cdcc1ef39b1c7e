"""The four real parsers behind Weir, each a process of its own that writes down what it saw."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ANSWER = (HERE / "answer.json").read_text()
NAMES = ["uvicorn", "node", "nginx", "hyper"]


def _uvicorn(port: int, log: Path, _: Path) -> list:
    return [sys.executable, "-m", "uvicorn", "--app-dir", HERE, "--http", "h11", "--port", port,
            "--log-level", "warning", "--no-access-log", "--timeout-keep-alive", 600, "asgi:app"]


def _node(port: int, log: Path, _: Path) -> list:
    return ["node", HERE / "node.mjs", port, log]


def _nginx(port: int, log: Path, directory: Path) -> list:
    text = (HERE / "nginx.conf").read_text()
    # Workers of root would be nobody, who may not enter the directory of a test.
    user = "user root;" if os.geteuid() == 0 else ""
    for mark, value in {"USER": user, "PORT": port, "LOG": log, "DIR": directory, "ANSWER": ANSWER}.items():
        text = text.replace(f"@{mark}@", str(value))
    (directory / "nginx.conf").write_text(text)
    program = "/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else "nginx"
    return [program, "-p", directory, "-c", directory / "nginx.conf", "-e", directory / "nginx.error.log"]


def _hyper(port: int, log: Path, _: Path) -> list:
    built = os.environ.get("WEIR_FRAMING_HYPER")
    return [built or ROOT / "target/debug/examples/framing-hyper", port, log]


COMMANDS = {"uvicorn": _uvicorn, "node": _node, "nginx": _nginx, "hyper": _hyper}


class Parser:
    """One upstream."""

    def __init__(self, name: str, port: int, directory: Path) -> None:
        self.name, self.port = name, port
        self.log = directory / "seen.jsonl"
        directory.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        self.read_to = 0
        command = [str(part) for part in COMMANDS[name](port, self.log, directory)]
        self.output = directory / "output"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=os.environ | {"LOG": str(self.log)},
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                said = self.output.read_text(errors="replace")[-2000:]
                assert self.process.poll() is None, f"{self.name} ended: {said}"
                assert time.monotonic() < deadline, f"{self.name} does not listen: {said}"
                time.sleep(0.02)

    def new(self) -> list[dict]:
        """What it wrote down since this was asked last. Bodies are Latin-1 text."""
        with open(self.log, "rb") as log:
            log.seek(self.read_to)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.read_to += len(whole)
        return [json.loads(line) for line in whole.decode("latin-1").splitlines()]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(ports: dict[str, int], directory: Path) -> dict[str, Parser]:
    """Those with a port; what has started is stopped when one does not."""
    started: dict[str, Parser] = {}
    try:
        for name, port in ports.items():
            started[name] = Parser(name, port, directory / name)
    except BaseException:
        for parser in started.values():
            parser.stop()
        raise
    return started

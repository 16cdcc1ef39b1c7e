"""Clients of OpenRouter and OpenAI, each a process that takes asks (see `tests/python/clients.py`)."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).parents[1]
OPENAI = ["python-openai", "node-openai"]
OPENROUTER = ["python-openrouter", "node-openrouter"]
OTHERS = ["python-pydantic_ai", "node-ai", "python-langchain", "python-litellm"]
SECONDS = 60  # LiteLLM takes ten to be imported on a busy machine
APART = ("litellm", "langchain")  # they want other versions of what the tests want: target/test-clients


@dataclass
class Client:
    """One client, started when it is first asked."""

    name: str
    process: subprocess.Popen | None = field(default=None, repr=False)

    def ask(self, **ask: object) -> dict:
        """What it understood."""
        process = self.process = self.process or self._start()
        process.stdin.write(json.dumps(ask) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            process.kill()
            self.stop()
            raise AssertionError(f"{self.name} says nothing: {ask}")
        return json.loads(line)

    def _start(self) -> subprocess.Popen:
        language, _, name = self.name.partition("-")
        directory = TESTS
        if language == "node":
            # Given as text, it finds its packages where it runs.
            directory = Path(os.environ["WEIR_NODE"])
            script = (TESTS / "node/clients.mjs").read_text()
            command = ["node", "--input-type=module", "--eval", script, "--", name]
        else:
            python = Path(os.environ["WEIR_CLIENTS"]) / "bin/python" if name in APART else sys.executable
            command = [python, TESTS / "python/clients.py", name]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=directory)

    def stop(self) -> None:
        if self.process:
            self.process.stdin.close()
            self.process.wait(timeout=10)
            self.process = None

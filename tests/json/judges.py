"""The judges: Weir's own code, serde_json, Node, jq and PostgreSQL's jsonb; Python is in `reading`."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster import Client
from reading import PATHS

HERE = Path(__file__).parent
DEADLINE = 300.0


def weir_judge(root: Path) -> Path:
    """The example `json-judge`, built if it has to be."""
    command = ["cargo", "build", "--quiet", "--example", "json-judge", "--message-format=json"]
    built = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, timeout=1200)
    messages = (json.loads(line) for line in built.stdout.splitlines())
    made = [message["executable"] for message in messages if message.get("executable")]
    return Path(made[-1])


class Judges:
    """All of them, on one running cluster."""

    def __init__(self, weir: Path, postgres: Client) -> None:
        self._weir, self._postgres = weir, postgres
        self._node = shutil.which("node") or "node"
        self._jq = shutil.which("jq") or "jq"

    def weir(self, documents: list[bytes]) -> list[dict]:
        """Why each is refused, or what steers it and what goes upstream."""
        return _lines(_run([str(self._weir)], _frames(documents)), documents)

    def others(self, texts: list[str]) -> dict[str, list]:
        """By judge: for each document the values at PATHS, or why it is refused."""
        asked = {"serde": self._ask_serde, "node": self._ask_node, "jq": self._ask_jq,
                 "postgres": self._ask_postgres}
        with ThreadPoolExecutor(len(asked)) as pool:
            told = {name: pool.submit(ask, texts) for name, ask in asked.items()}
            return {name: _lines(answer.result(), texts) for name, answer in told.items()}

    def _ask_serde(self, texts: list[str]) -> str:
        return _run([str(self._weir), json.dumps(PATHS)], _frames([text.encode() for text in texts]))

    def _ask_node(self, texts: list[str]) -> str:
        frames = _frames([text.encode() for text in texts])
        return _run([self._node, str(HERE / "judge.mjs"), json.dumps(PATHS)], frames)

    def _ask_jq(self, texts: list[str]) -> str:
        command = [self._jq, "-c", "--argjson", "paths", json.dumps(PATHS), "-f", str(HERE / "judge.jq")]
        return _run(command, "".join(json.dumps(text) + "\n" for text in texts).encode())

    def _ask_postgres(self, texts: list[str]) -> str:
        rows = "".join(f"{n}\t{text.encode().hex()}\n" for n, text in enumerate(texts))
        return self._postgres.run(
            "CREATE TEMPORARY TABLE documents (n int, hex text);\nCOPY documents FROM STDIN;\n"
            f"{rows}\\.\nSELECT judge(hex, '{{{','.join(PATHS)}}}') FROM documents ORDER BY n;\n")


def _frames(documents: list[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(document)) + document for document in documents)


def _run(command: list[str], stdin: bytes) -> str:
    ran = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=DEADLINE,
                         env={**os.environ, "LC_ALL": "C.UTF-8"})
    if ran.returncode:
        raise RuntimeError(f"{command[0]}: {ran.stderr.decode(errors='replace')[-2000:]}")
    return ran.stdout.decode("utf-8")


def _lines(output: str, asked: list) -> list:
    lines = output.split("\n")[:-1]
    if len(lines) != len(asked):
        raise RuntimeError(f"{len(lines)} answers to {len(asked)} documents")
    return [json.loads(line) for line in lines]

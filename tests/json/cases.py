"""The documents written by hand: `cases/*.txt`.

A line is a slot, a verdict and a text. Slots: `doc`, the whole body; `add`, members after a sound
beginning; any other word, the value of that member after a sound beginning. Verdicts: `y`, Weir reads
it; `n:KIND`, refused, KIND being the label of `weir_bad_json_total`. In the text `<0A FF>` stands for
bytes, `<3*ab>` for `ababab`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOUND = b'{"model":"a/m","messages":[]'
_MARK = re.compile(r"<((?:[0-9A-F]{2}(?: [0-9A-F]{2})*)?|\d+\*[^>]+)>")


class Case(NamedTuple):
    place: str
    refused: str | None
    document: bytes


def cases() -> Iterator[Case]:
    """Every document of every file, in order."""
    for path in sorted((Path(__file__).parent / "cases").glob("*.txt")):
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
            if line and not line.startswith("#"):
                slot, verdict, text = line.split(" ", 2)
                refused = None if verdict == "y" else verdict.removeprefix("n:")
                yield Case(f"{path.name}:{number}", refused, _document(slot, _bytes(text)))


def _document(slot: str, text: bytes) -> bytes:
    if slot == "doc":
        return text
    if slot == "add":
        return SOUND + b"," + text + b"}"
    beginning = b'{"messages":[]' if slot == "model" else SOUND
    return beginning + b',"' + slot.encode() + b'":' + text + b"}"


def _bytes(text: str) -> bytes:
    made, at = bytearray(), 0
    for mark in _MARK.finditer(text):
        made += text[at:mark.start()].encode()
        count, repeated, what = mark[1].partition("*")
        made += what.encode() * int(count) if repeated else bytes.fromhex(mark[1])
        at = mark.end()
    return bytes(made + text[at:].encode())

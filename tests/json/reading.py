"""What Python reads of a request body, in every way a parser may, and what must go upstream."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

# Every field Weir reads, or has read before it goes upstream.
PATHS = [
    "model", "models", "stream", "stream_options.include_usage", "max_tokens", "max_completion_tokens",
    "n", "best_of", "user", "session_id", "service_tier", "speed", "prompt_cache_key", "provider.order",
    "provider.only", "provider.ignore", "provider.allow_fallbacks", "provider.zdr",
    "provider.data_collection", "preset",
]
# What becomes of the top-level fields: the one table of it, read from the source.
_KEYS = (Path(__file__).parents[2] / "src/request/keys.rs").read_text()
FATES = dict(re.findall(r'\("(\w+)", (\w+)\)', _KEYS.split("const TOP")[1].split("];")[0]))
# The ways to look a key up: comparing exactly or laxly, and which of several wins.
WAYS = [(folded, first) for folded in (False, True) for first in (False, True)]


class Number(NamedTuple):
    """A number as it is written."""

    text: str

    def told(self) -> str:
        whole = not set(self.text) & set(".eE")
        return "#" + (str(int(self.text)) if whole else repr(float(self.text)))


class Members(list):
    """An object: keys and values, repeats and all."""

    def get(self, key: str, folded: bool, first: bool) -> object:
        found = [value for name, value in self if (fold(name) if folded else name) == key]
        return found[0 if first else -1] if found else None


def parse(text: str) -> object:
    """The document, with nothing lost."""
    return json.loads(text, object_pairs_hook=Members, parse_int=Number, parse_float=Number)


def fold(key: str) -> str:
    """A key as the laxest parser compares it."""
    return key.split("\0", 1)[0].replace("\u0130", "i").replace("\u0131", "i").casefold()


def read(document: Members, folded: bool = False, first: bool = False) -> list:
    """The values at PATHS, as the other judges tell them."""
    return [_told(_at(document, path.split("."), folded, first)) for path in PATHS]


def _at(value: object, path: list[str], folded: bool, first: bool) -> object:
    for key in path:
        value = value.get(key, folded, first) if isinstance(value, Members) else None
    return value


def _told(value: object) -> object:
    if isinstance(value, Number):
        return value.told()
    if isinstance(value, Members):
        return "{}"
    if isinstance(value, list):
        return [item if isinstance(item, str) else "?" for item in value]
    return value


def as_weir(values: list) -> dict:
    """What Weir must have read, given the values at PATHS."""
    at = dict(zip(PATHS, values))

    def limit(name: str) -> int | None:
        value = None if at[name] is None else int(at[name].removeprefix("#"))
        return None if value is None or value < 0 else value

    tokens = limit("max_completion_tokens")
    names = [at["model"], *(at["models"] or [])]
    if at["preset"] and not any(name is not None for name in names):
        names = [f"@preset/{at['preset']}"]
    return {
        "models": list(dict.fromkeys(name for name in names if name is not None)),
        "stream": at["stream"] is True,
        "include_usage": at["stream_options.include_usage"],
        "max_tokens": limit("max_tokens") if tokens is None else tokens,
        "session_id": at["session_id"],
        "user": at["user"],
        "provider": {
            "order": at["provider.order"] or [],
            "only": at["provider.only"] or [],
            "ignore": at["provider.ignore"] or [],
            "no_fallbacks": at["provider.allow_fallbacks"] is False,
            "no_collection": at["provider.data_collection"] in ("deny", "disallow"),
            "zdr": at["provider.zdr"] is True,
        },
    }


def forwarded(document: Members, judged: dict) -> Members:
    """The document that must go upstream, by the rules of `src/request/rewrite.rs`."""
    edit = judged["edit"]
    by_contract, prompted = edit["by_contract"], any(key == "prompt" and isinstance(value, str) for key, value in document)
    asks = edit["stream_usage"] and judged["stream"] and judged["include_usage"] is not True
    made = Members()
    for key, value in document:
        fate = FATES.get(fold(key))
        own = fate == "Consumed" or fate == "Shared" and by_contract
        if fate == "Forbidden" or own and key not in edit["declares"]:
            continue
        if by_contract and (key == "stream_options" and not judged["stream"] or key == "messages" and prompted):
            continue
        if key == "prompt" and by_contract and prompted:
            key, value = "messages", [Members([("role", "user"), ("content", value)])]
        if key == "model":
            value = edit["model"]
        elif key == "user" and isinstance(value, str) and edit["user"]:
            value = edit["user"]
        elif key == "stream_options" and asks:
            value = _asking(value)
        made.append((key, value))
    keys = [key for key, _ in made]
    if asks and "stream_options" not in keys:
        made.insert(0, ("stream_options", _asking(None)))
    if "model" not in keys:
        made.insert(0, ("model", edit["model"]))
    return made


def _asking(options: Members | None) -> Members:
    given = options or Members()
    if any(key == "include_usage" for key, _ in given):
        return Members((key, True if key == "include_usage" else value) for key, value in given)
    return Members([("include_usage", True), *given])

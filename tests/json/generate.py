"""Documents made by chance: by a grammar of request bodies, then mutated. The same seed, the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

NUMBERS = [
    "0", "-0", "1", "2", "7", "-1", "128", "4096", "9007199254740991", "9007199254740992",
    "9007199254740993", "-9007199254740992", "9223372036854775808", "18446744073709551616", "1.0",
    "-0.0", "0.5", "1e3", "1E+2", "1e-2", "1e400", "-1e400", "1e-400", "5e-324", "1e99999999999",
    "1.7976931348623159e308", "123456789012345678901234567890", "01", "1.", "+1", "NaN", "-", "0x1",
]
SOUND_NUMBERS = NUMBERS[:6] + ["16", "256", "100000", "9007199254740991", "-9007199254740991"]
PIECES = [
    "a", "b", "model", "stream", " ", "/", "é", "日本", "😀", "\u2028", "\u017f", "\u212a", "\ufeff", "\x7f",
    "\\u0061", "\\u00e9", "\\uD83D\\uDE00", '\\"', "\\\\", "\\/", "\\n", "\\t", "{", "}", "[",
    ",", ":", '\\"model\\":\\"b/o\\"', "x" * 31, "x" * 64,
]
ODD_PIECES = ["\\u0000", "\\u0000", "\\ud800", "\\udc00", "\\uD83D", "\\x41", "\\u12", "\x00", "\n", "\t"]
NAMES = ["a/m", "b/o", "openai/gpt-4o:free", "x", "~m@1", "a\\/m", "\\u0061/m"]
ODD_NAMES = ["", " ", "a m", "a/m\\u0000", "é", "\\ud800", "x" * 129]
SPACES = ["", "", "", "", "", "", "", "", " ", "\n", "\t", "\r\n  "]
ODD_SPACES = ["\x0b", "\x0c", "\xa0", "\ufeff", "\x00", "/**/"]
UNKNOWN = ["temperature", "x", "metadata", "Tools", "modell", "", "top_p", "messages2", "mode"]
FORBIDDEN = ["base_url", "api_key", "extra_headers", "fallbacks", "headers", "user_config"]
INTERESTING = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\x00", b"\xff", b"\xc0\x80", b"\xed\xa0\x80",
               b"\xef\xbb\xbf", b"0", b"-", b".", b"e", b" ", b"\n", b"null", b"true", b"\\u0000", b"\\ud800",
               b'"model":"b/o",', b'"stream":true,', b'"n":2,', b"//", b"\xe2\x84\xaa", b"\xc5\xbf"]
FOLDS = {"k": "\u212a", "s": "\u017f", "i": "\u0131", "st": "\ufb06", "ss": "\u00df"}


class Generator:
    """Makes documents from one seed."""

    def __init__(self, seed: str) -> None:
        self.random = Random(seed)
        self.fields: dict[str, Callable[[], str]] = {
            "models": lambda: self.array(self.name, 3),
            "stream": self.flag,
            "stream_options": lambda: self.object({"include_usage": self.flag}),
            "provider": lambda: self.object({
                "order": self.names, "only": self.names, "ignore": self.names, "sort": self.value,
                "allow_fallbacks": self.flag, "zdr": self.flag, "max_price": self.value,
                "data_collection": lambda: self.pick(['"allow"', '"deny"', '"disallow"', "null"]),
            }),
            "max_tokens": self.count, "max_completion_tokens": self.count, "n": self.count,
            "best_of": self.count, "user": self.string, "session_id": self.string,
            "service_tier": self.string, "speed": self.string, "prompt_cache_key": self.string,
            "tools": self.value, "messages": self.value, "route": self.value, "cache_control": self.value,
            "usage": self.value, "plugins": self.value, "preset": self.value,
        }

    def document(self) -> bytes:
        """The next one."""
        chat = ("prompt", self.string) if self.chance(0.1) else ("messages", self.value)
        members = [chat, ("model", self.model)]
        if self.chance(0.04):
            members.pop(self.random.randrange(2))
        names = self.random.sample(sorted(self.fields), self.random.choice([0, 1, 2, 3, 5, 8]))
        members += [(name, self.fields[name]) for name in names if name != "messages"]
        for pool in (UNKNOWN, UNKNOWN, FORBIDDEN):
            if self.chance(0.4):
                members.append((self.pick(pool), self.value))
        if self.chance(0.05):
            members.append(self.pick(members))
        self.random.shuffle(members)
        text = self.space() + self.braced([self.member(name, make) for name, make in members]) + self.space()
        made = text.encode("utf-8")
        return self.mutated(made) if self.chance(0.3) else made

    def mutated(self, document: bytes) -> bytes:
        made = bytearray(document)
        for _ in range(self.pick([1, 1, 1, 2, 4])):
            at = self.random.randrange(len(made) + 1)
            end = min(len(made), at + self.pick([1, 1, 1, 2, 5, 20]))
            kind = self.random.randrange(5)
            if kind == 0:
                del made[at:end]
            elif kind == 1:
                made[at:at] = self.pick(INTERESTING)
            elif kind == 2:
                made[at:end] = self.pick(INTERESTING)
            elif kind == 3:
                made[at:at] = made[at:end]
            elif at < len(made):
                made[at] ^= 1 << self.random.randrange(8)
        return bytes(made)

    def member(self, name: str, make: Callable[[], str]) -> str:
        value = self.value() if self.chance(0.015) else make()
        return f'"{self.key(name)}"{self.space()}:{self.space()}{value}'

    def key(self, name: str) -> str:
        """Escaped in places; seldom another spelling."""
        if self.chance(0.01):
            plain = [short for short in FOLDS if short in name]
            name = name.replace(short := self.pick(plain), FOLDS[short], 1) if plain else name.title()
        if self.chance(0.005):
            name += self.pick(["\\u0000", " ", "\\ud800", "\\u200b"])
            return name
        if self.chance(0.1):
            return "".join(f"\\u{ord(letter):04x}" if self.chance(0.3) else letter for letter in name)
        return name

    def object(self, fields: dict[str, Callable[[], str]]) -> str:
        names = [name for name in fields if self.chance(0.5)]
        members = [self.member(name, fields[name]) for name in names]
        if self.chance(0.2):
            members.append(self.member(self.pick(UNKNOWN), self.value))
        if members and self.chance(0.03):
            members.append(self.pick(members))
        self.random.shuffle(members)
        return "null" if self.chance(0.1) else self.braced(members)

    def value(self, depth: int = 0) -> str:
        """Any JSON."""
        kind = self.random.randrange(8 if depth < 3 else 6)
        if kind == 6:
            return self.array(lambda: self.value(depth + 1), 3)
        if kind == 7:
            count = self.random.randrange(4)
            keys = (self.pick(UNKNOWN + ["model", "stream", "n"]) for _ in range(count))
            return self.braced([f'"{key}":{self.value(depth + 1)}' for key in keys])
        if kind < 2:
            return self.string()
        if kind == 2:
            return self.pick(["true", "false", "null"])
        if kind == 3 and self.chance(0.02):
            deep = self.pick([20, 60, 61, 62, 63, 64])
            return "[" * deep + "]" * deep
        sound = self.chance(0.98)
        return self.pick(NUMBERS[:-6]) if sound else self.pick(NUMBERS)

    def braced(self, members: list[str]) -> str:
        return "{" + self.space() + f"{self.space()},{self.space()}".join(members) + self.space() + "}"

    def array(self, make: Callable[[], str], most: int) -> str:
        items = [make() for _ in range(self.random.randrange(most + 1))]
        return "[" + self.space() + f"{self.space()},{self.space()}".join(items) + self.space() + "]"

    def names(self) -> str:
        return "null" if self.chance(0.1) else self.array(self.string, 3)

    def string(self) -> str:
        pieces = [self.pick(PIECES) for _ in range(self.random.randrange(5))]
        if self.chance(0.01):
            pieces.append(self.pick(ODD_PIECES))
        return '"' + "".join(pieces) + '"'

    def name(self) -> str:
        return '"' + self.pick(ODD_NAMES if self.chance(0.01) else NAMES) + '"'

    def model(self) -> str:
        return "null" if self.chance(0.03) else self.name()

    def flag(self) -> str:
        return self.pick(["true", "false", "true", "null"])

    def count(self) -> str:
        return self.pick(NUMBERS) if self.chance(0.03) else self.pick(SOUND_NUMBERS)

    def space(self) -> str:
        return self.pick(ODD_SPACES) if self.chance(0.0005) else self.pick(SPACES)

    def pick(self, pool: list) -> object:
        return pool[int(self.random.random() * len(pool))]

    def chance(self, share: float) -> bool:
        return self.random.random() < share

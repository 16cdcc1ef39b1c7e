"""A configuration directory for a test: which providers, which endpoints, which keys.

The one place that knows how the files are written.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

# Input and output in dollars per million tokens. Each endpoint is a thousand times dearer than the
# one before: the draw by 1/price² then keeps their order but once in a million.
PRICES = [(1, 2), (1_000, 2_000), (1_000_000, 2_000_000), (1_000_000_000, 2_000_000_000)]
# Room for the largest body a test sends: whether a prompt fits is shown in tests/selection.
CONTEXT = 1 << 24
PICO_PER_TOKEN = 1_000_000  # of a dollar per million
# The clocks of a provider that a test lets run out; by default they wait for a busy machine.
BRISK = {"connect": "400ms", "first_content": "600ms", "idle": "800ms", "total": "5s"}


@dataclass
class Provider:
    """One provider: a role of the chaos upstream, unless `base_url` says otherwise."""

    slug: str
    base_url: str = ""
    secret: str = field(default_factory=lambda: f"canary-provider-{secrets.token_hex(12)}")
    connect: str = "9s"
    first_content: str = "19s"
    idle: str = "19s"
    total: str = "60s"
    extra: dict = field(default_factory=dict)
    endpoint: dict = field(default_factory=dict)  # what its endpoints have besides
    variant: dict = field(default_factory=dict)  # and its further ones of a model


@dataclass
class Model:
    """One model; its endpoints in order of price. A provider named again is another variant of it."""

    slug: str
    providers: list[str]


@dataclass
class Deployment:
    """What one Weir is told."""

    providers: list[Provider]
    models: list[Model]
    settings: dict[str, object] = field(default_factory=dict)
    key: str = field(default_factory=lambda: f"sk-or-v1-{secrets.token_hex(32)}")

    def price(self, provider: str, model: str | None = None) -> tuple[int, int]:
        """Pico-dollars per input and per output token."""
        found = next(m for m in self.models if provider in m.providers and model in (None, m.slug))
        prompt, completion = PRICES[found.providers.index(provider)]
        return prompt * PICO_PER_TOKEN, completion * PICO_PER_TOKEN

    def cost(self, provider: str, input: int, output: int) -> int:
        prompt, completion = self.price(provider)
        return input * prompt + output * completion


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return value.isoformat() if isinstance(value, date) else json.dumps(value)


def _table(header: str, entries: dict) -> str:
    lines = [f"{key} = {_value(value)}" for key, value in entries.items()]
    return "\n".join([header, *lines, ""]).lstrip() + "\n"


def write(deployment: Deployment, chaos_port: int, listen: int, admin: int, directory: Path) -> Path:
    """Writes all files below `directory` and returns the configuration directory."""
    conf = directory / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    settings = deployment.settings
    plain = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    text = _table("", {"state_directory": str(directory / "state")} | plain)
    text += _table("[[listener]]", {"address": f"127.0.0.1:{listen}"} | settings.get("listener", {}))
    text += _table("[admin]", {"address": f"127.0.0.1:{admin}"})
    for name in settings.keys() - plain.keys() - {"listener"}:
        text += _table(f"[{name}]", settings[name])
    (conf / "weir.toml").write_text(text)
    (conf / "providers.toml").write_text(
        "".join(_provider(provider, chaos_port, conf) for provider in deployment.providers)
    )
    changes = {provider.slug: (provider.endpoint, provider.variant) for provider in deployment.providers}
    (conf / "models.toml").write_text("".join(_model(model, changes) for model in deployment.models))
    digest = hashlib.sha256(deployment.key.encode()).hexdigest()
    (conf / "keys.toml").write_text(
        _table("[[key]]", {"name": "tester", "workspace": "default", "hash": digest})
    )
    return conf


def _provider(provider: Provider, chaos_port: int, conf: Path) -> str:
    secret = conf / f"{provider.slug}.secret"
    secret.write_text(provider.secret)
    secret.chmod(0o400)
    base = provider.base_url or f"http://127.0.0.1:{chaos_port}/s/{provider.slug}/v1"
    entries = {
        "slug": provider.slug,
        "name": provider.slug.upper(),
        "dialect": "openai-chat",
        "base_url": base,
        "private_addresses": True,
        "probe": "off",
        "timeouts": {
            "connect": provider.connect,
            "first_content": provider.first_content,
            "idle": provider.idle,
            "total": provider.total,
        },
    } | provider.extra
    credential = {"name": "main", "secret": {"file": secret.name}}
    keyed = "" if entries.get("keyless") else _table("[[provider.credential]]", credential)
    return _table("[[provider]]", entries) + keyed


def _model(model: Model, changes: dict[str, tuple[dict, dict]]) -> str:
    text = _table("[[model]]", {"slug": model.slug, "name": model.slug, "context_length": CONTEXT})
    for index, slug in enumerate(model.providers):
        prompt, completion = PRICES[index]
        again = {"tag": f"{slug}/v{index}"} if slug in model.providers[:index] else {}
        endpoint = again | {
            "provider": slug,
            "model": f"up-{slug}",
            "price": {"input": str(prompt), "output": str(completion)},
        }
        first, further = changes.get(slug, ({}, {}))
        text += _table("[[model.endpoint]]", endpoint | first | (further if again else {}))
    return text

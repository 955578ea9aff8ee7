"""Channels, and the prices in the options, of one-api and new-api.

A price is a ratio: 1 is 0.002 US dollars for a thousand tokens of input. CompletionRatio is what output
costs as a multiple of it. Ratios that an operator has not changed are in the program, not in the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from . import values
from .litellm_models import EMBEDS
from .records import ModelRecord
from .report import Report
from .source import Source

CHANNELS = "channels"
OPTIONS = "options"

#: US dollars for a million tokens, of ratio 1.
USD_OF_RATIO = Decimal(2)

#: A channel's type → the provider, by the names of LiteLLM; others speak OpenAI's protocol at their own address.
PROVIDERS = {
    1: "openai",
    3: "azure",
    14: "anthropic",
    20: "openrouter",
    24: "gemini",
    25: "moonshot",
    28: "mistral",
    29: "groq",
    30: "ollama",
    33: "bedrock",
    36: "deepseek",
    39: "together_ai",
    42: "vertex_ai",
    45: "xai",
}

ENABLED = 1


class Ratios:
    """The options that are prices."""

    def __init__(self, source: Source, report: Report) -> None:
        self.report = report
        self.options = {str(row["key"]): row["value"] for row in source.rows(OPTIONS, ("key", "value"))}
        self.model = values.mapping(self.options.get("ModelRatio"))
        self.completion = values.mapping(self.options.get("CompletionRatio"))
        given = values.number(self.options.get("QuotaPerUnit"))
        self.quota_per_dollar = given if given is not None and given > 0 else Decimal(500_000)

    def rates(self, model: str) -> dict[str, Decimal]:
        """The rates of a model, in US dollars for a million tokens; empty where the options do not have it."""
        ratio = values.number(self.model.get(model))
        if ratio is None or ratio < 0:
            return {}
        output = values.number(self.completion.get(model))
        rates = {"input": ratio * USD_OF_RATIO, "output": ratio * USD_OF_RATIO * (1 if output is None else output)}
        return {name: rate.quantize(Decimal("1e-9")).normalize() for name, rate in rates.items()}

    def report_rest(self) -> None:
        """Report the options."""
        report = self.report
        for name, value in sorted(self.options.items()):
            if name in ("ModelRatio", "CompletionRatio", "QuotaPerUnit"):
                report.taken(OPTIONS, name)
            elif name == "GroupRatio":
                if any(values.number(one) != 1 for one in values.mapping(value).values()):
                    report.dropped(OPTIONS, name, "factors on prices are not taken over: set prices, or a plan", name)
            elif values.text(value):
                report.dropped(OPTIONS, name[:60], "a setting of its own", name[:60])


def channel_models(source: Source, report: Report, ratios: Ratios) -> Iterator[ModelRecord]:
    """Each model of each channel that is enabled."""
    for row in source.rows(CHANNELS, ("name", "type", "status", "base_url", "models", "model_mapping"), "id"):
        shown = values.shown(row["name"], 60) or "?"
        if values.whole(row["status"]) != ENABLED:
            report.dropped(CHANNELS, "status", "the channel is disabled", shown)
            continue
        report.taken(CHANNELS, "status", "type", "models")
        if row["name"]:
            report.dropped(CHANNELS, "name", "lanes are named by their vendor", shown)
        mapping = values.mapping(row["model_mapping"])
        if mapping:
            report.taken(CHANNELS, "model_mapping")
        base_url = values.shown(row["base_url"], 400)
        if base_url is not None:
            report.taken(CHANNELS, "base_url")
        provider = PROVIDERS.get(values.whole(row["type"]) or 0, "custom")
        for name in dict.fromkeys(one.strip() for one in (values.text(row["models"]) or "").split(",") if one.strip()):
            if shown_name := values.shown(name, 200):
                yield channel_model(shown_name, provider, base_url, mapping, ratios)


def channel_model(
    name: str, provider: str, base_url: str | None, mapping: dict[str, Any], ratios: Ratios
) -> ModelRecord:
    """One model of a channel."""
    upstream = mapping.get(name)
    known = upstream if isinstance(upstream, str) and upstream else name
    kind = "embed" if EMBEDS.search(known) else "chat"
    return ModelRecord(
        name, provider, known[:200], base_url and versioned(base_url, provider), kind, ratios.rates(name), None
    )


def versioned(base_url: str, provider: str) -> str:
    """The address with the version that both gateways add to it."""
    plain = base_url.rstrip("/")
    if provider in ("anthropic", "azure") or plain.rsplit("/", 1)[-1].startswith("v"):
        return plain
    return f"{plain}/v1beta" if provider == "gemini" else f"{plain}/v1"

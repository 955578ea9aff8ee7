"""Writes the models of another gateway as a part of kaixu.yaml. Vendors' keys are variables, never the secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

import msgspec

from kaixu.config.mistakes import ConfigError
from kaixu.config.price_list import packaged, read_price_list

from .records import ModelRecord
from .report import Report
from .values import printable

#: Provider → plugin, and its address where it is not the plugin's own.
PLUGINS: dict[str, tuple[str, str | None]] = {
    "openai": ("openai", None),
    "text-completion-openai": ("openai", None),
    "anthropic": ("anthropic", None),
    "gemini": ("gemini", None),
    "voyage": ("voyage", None),
    "azure": ("azure", None),
    "openrouter": ("openai", "https://openrouter.ai/api/v1"),
    "mistral": ("openai", "https://api.mistral.ai/v1"),
    "groq": ("openai", "https://api.groq.com/openai/v1"),
    "deepseek": ("openai", "https://api.deepseek.com/v1"),
    "together_ai": ("openai", "https://api.together.xyz/v1"),
    "fireworks_ai": ("openai", "https://api.fireworks.ai/inference/v1"),
    "xai": ("openai", "https://api.x.ai/v1"),
    "moonshot": ("openai", "https://api.moonshot.cn/v1"),
    "perplexity": ("openai", "https://api.perplexity.ai"),
    "ollama": ("openai", "http://127.0.0.1:11434/v1"),
    "ollama_chat": ("openai", "http://127.0.0.1:11434/v1"),
}

#: Providers whose protocol no lane of the gateway speaks.
UNKNOWN = {
    "bedrock",
    "vertex_ai",
    "vertex_ai_beta",
    "sagemaker",
    "sagemaker_chat",
    "cohere",
    "cohere_chat",
    "watsonx",
    "databricks",
    "replicate",
    "huggingface",
}

NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")
MOST_DEPLOYMENTS = 20


class Lane:
    """One section of `lanes:`."""

    def __init__(self, plugin: str, base_url: str | None) -> None:
        self.plugin = plugin
        self.base_url = base_url
        self.models: dict[str, list[Deployment]] = {}


class Deployment(NamedTuple):
    """A model of the other gateway, and the lane that serves it."""

    lane: str
    record: ModelRecord


class Lanes:
    """The lanes that are made of models: one for each vendor and address.

    Models with one name are one model with several deployments, as at the other gateways: clients send the name alone.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.lanes: dict[str, Lane] = {}
        self.owners: dict[str, str] = {}  # the lane that has a model, by the model's name
        self.left_out: list[ModelRecord] = []

    def add(self, one: ModelRecord) -> None:
        """Put a model into the lane of its vendor and address."""
        if one.provider in UNKNOWN:
            self.left_out.append(one)
            self.report.dropped("models", one.provider, "no lane speaks this vendor's protocol", one.name)
            return
        name, lane = self.lane_for(one)
        shown = model_name(one.name, name)
        if shown != one.name:
            why = f"a model's name has letters, digits, dots, underscores and dashes only: {shown}"
            self.report.changed("models", "name", why, one.name)
        owner = self.lanes[self.owners.setdefault(shown, name)]
        deployments = owner.models.setdefault(shown, [])
        if any((other.lane, other.record.upstream) == (name, one.upstream) for other in deployments):
            why = "the same model of the same vendor with another key: write the keys as a list, `api_keys`"
            self.report.dropped("models", "deployment", why, one.name)
        elif len(deployments) < MOST_DEPLOYMENTS:
            deployments.append(Deployment(name, one))
            if lane is not owner and not lane.models:
                # A lane has a model of its own; this name is not that of the model, which would be in two lanes.
                lane.models[f"{shown[:70]}.{name[:9]}"] = [Deployment(name, one)]

    def lane_for(self, one: ModelRecord) -> tuple[str, Lane]:
        """The lane of a vendor's address, and its name; made if there is none."""
        plugin, own = PLUGINS.get(one.provider, ("openai", None))
        base_url = one.base_url or own
        stem = re.sub(r"[^a-z0-9-]+", "-", one.provider.lower()).strip("-")[:40] or "vendor"
        number, name = 1, stem
        while name in self.lanes and (self.lanes[name].plugin, self.lanes[name].base_url) != (plugin, base_url):
            number += 1
            name = f"{stem}-{number}"
        return name, self.lanes.setdefault(name, Lane(plugin, base_url))

    def text(self, system: str) -> str | None:
        """The part of kaixu.yaml; None where there is no model."""
        if not self.lanes and not self.left_out:
            return None
        lines = [
            f"# From {system}, for kaixu.yaml. Set the variables, then run `kaixu check`.",
            "lanes:" if self.lanes else "lanes: {}",
        ]
        for name, lane in self.lanes.items():
            lines += lane_lines(name, lane)
        lines += [
            f"# Left out: {comment(one.name)} ({comment(one.provider)}): no lane speaks its vendor's protocol."
            for one in self.left_out
        ]
        return "\n".join(lines) + "\n"


def lanes_yaml(system: str, models: Iterable[ModelRecord], report: Report) -> str | None:
    """The part of kaixu.yaml for these models; None where there is no model."""
    lanes = Lanes(report)
    for one in models:
        lanes.add(one)
    return lanes.text(system)


def model_name(name: str, lane: str) -> str:
    """A name that kaixu.yaml allows; `lane/model` loses its lane, which clients may write before it anyway."""
    plain = name.removeprefix(f"{lane}/")
    return plain if NAME.fullmatch(plain) else (re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-")[:80] or "model")


def lane_lines(name: str, lane: Lane) -> list[str]:
    """One lane."""
    variable = re.sub(r"[^A-Z0-9]+", "_", name.upper())
    lines = [f"  {name}:", f"    plugin: {lane.plugin}"]
    if lane.plugin == "azure":
        lines.append(f"    endpoint: {quoted(lane.base_url) if lane.base_url else f'${{{variable}_ENDPOINT}}'}")
    elif lane.base_url is not None:
        lines.append(f"    base_url: {quoted(lane.base_url)}")
    elif name.split("-")[0] == "custom" or (lane.plugin == "openai" and name.split("-")[0] not in ("openai", "text")):
        lines.append(f"    base_url: ${{{variable}_BASE_URL}}")
    lines += [f"    api_key: ${{{variable}_API_KEY}}", "    models:"]
    for model, deployments in lane.models.items():
        lines += model_lines(model, deployments, lane)
    return lines


def model_lines(name: str, deployments: list[Deployment], lane: Lane) -> list[str]:
    """One model, with its deployments if there are several."""
    first = deployments[0].record
    lines = [f"      # {comment(one.record.note)}" for one in deployments if one.record.note]
    lines += [f"      {quoted(name)}:", f"        type: {first.kind}", f"        upstream: {quoted(first.upstream)}"]
    if first.kind == "embed":
        lines.append(f"        dimensions: {dimensions_of(first.upstream)}  # check it")
    rates = priced(first)
    if rates is not None:
        lines += [f"        price: {written(rates)}", f"        cost: {written(rates)}"]
    elif is_listed(lane.plugin, first.upstream):
        lines.append("        price: list")
    else:
        lines.append("        # price: {input: 0, output: 0}  # set it: calls to a model without a price are refused")
    if len(deployments) > 1:
        lines.append("        deployments:")
        lines += [f"          - {deployment(one)}" for one in deployments]
    return lines


def deployment(one: Deployment) -> str:
    """One place that serves a model."""
    rates = priced(one.record)
    cost = "" if rates is None else f", cost: {written(rates)}"
    return f"{{lane: {one.lane}, upstream: {quoted(one.record.upstream)}{cost}}}"


def written(rates: Mapping[str, Decimal]) -> str:
    """Rates as kaixu.yaml has them."""
    return "{" + ", ".join(f"{rate}: {price:f}" for rate, price in rates.items()) + "}"


def priced(one: ModelRecord) -> Mapping[str, Decimal] | None:
    """The rates, if they are a price: chat models need one for output."""
    if "input" not in one.rates or (one.kind == "chat" and "output" not in one.rates):
        return None
    kept = ("input",) if one.kind == "embed" else ("input", "output", "cached_input", "cache_write", "reasoning")
    return {rate: one.rates[rate] for rate in kept if rate in one.rates}


def is_listed(plugin: str, upstream: str) -> bool:
    """Whether the price list of a plugin that comes with the gateway has this model."""
    path = packaged().get(plugin)
    if path is None:
        return False
    try:
        return read_price_list(path).price_of(upstream) is not None
    except ConfigError:
        return False


def dimensions_of(upstream: str) -> int:
    """The length of the vectors of well-known models."""
    return {"text-embedding-3-large": 3072}.get(upstream, 1536)


def quoted(text: str) -> str:
    """A text in YAML: as it is where that is safe, else in quotes. `$` is no variable in it."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9._/:-]*[A-Za-z0-9._/-]", text) and text.lower() not in (
        "true",
        "false",
        "null",
        "yes",
        "no",
    ):
        return text
    return msgspec.json.encode(text.replace("${", "$ {")).decode()


def comment(text: str | None) -> str:
    """A text that stays within the comment's line."""
    return " ".join(printable(text or "").split())

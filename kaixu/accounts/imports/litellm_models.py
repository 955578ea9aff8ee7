"""The models that LiteLLM keeps in its database. Their texts may be encrypted there, also the vendor's model name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal

from . import values
from .records import ModelRecord
from .report import Report
from .source import Source

MODELS = "LiteLLM_ProxyModelTable"

#: Texts that LiteLLM encrypts are base64 of at least 41 bytes; no model is called like that.
ENCRYPTED = re.compile(r"[A-Za-z0-9+/_=-]{56,}")

#: LiteLLM's rate for one token → ours for a million.
RATES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_reasoning_token": "reasoning",
}
EMBEDS = re.compile(r"embed|voyage|bge|e5-", re.IGNORECASE)


def access_groups(source: Source) -> dict[str, list[str]]:
    """The models of each group of models."""
    groups: dict[str, list[str]] = defaultdict(list)
    for row in source.rows(MODELS, ("model_name", "model_info")):
        name = values.text(row["model_name"])
        listed = values.mapping(row["model_info"]).get("access_groups")
        for group in listed if isinstance(listed, list) else ():
            if name and isinstance(group, str):
                groups[group].append(name)
    return dict(groups)


def model_records(source: Source, report: Report) -> Iterator[ModelRecord]:
    """Each deployment of each model."""
    for row in source.rows(MODELS, ("model_name", "litellm_params", "model_info"), "model_name"):
        name = values.shown(row["model_name"], 200)
        if name is None:
            report.dropped(MODELS, "model_name", "it has no name", "?")
            continue
        params, info = values.mapping(row["litellm_params"]), values.mapping(row["model_info"])
        report.taken(MODELS, "model_name")
        yield model_record(name, params, info, report)


def model_record(name: str, params: Mapping[str, object], info: Mapping[str, object], report: Report) -> ModelRecord:
    """One deployment."""
    written, base_url, vendor = (
        readable(params.get("model")),
        readable(params.get("api_base")),
        params.get("custom_llm_provider"),
    )
    provider, upstream = split(written or readable(info.get("base_model")) or name, readable(vendor))
    note = None
    if written is None:
        note = "LiteLLM encrypts the vendor's model name in its database: check `upstream`"
        report.changed(MODELS, "litellm_params.model", "encrypted there: guessed from the model's name", name)
    else:
        report.taken(MODELS, "litellm_params.model")
    if params.get("api_base") and base_url is None:
        note = "LiteLLM encrypts the vendor's address in its database: set `base_url`"
        report.dropped(MODELS, "litellm_params.api_base", "encrypted there: set `base_url`", name)
    elif base_url is not None:
        report.taken(MODELS, "litellm_params.api_base")
    rates = rates_in(params, info, report)
    for field, value in params.items():
        if field in ("model", "api_base", "custom_llm_provider", *RATES) or value in (None, "", [], {}, False):
            continue
        secret = re.search(r"key|secret|token|credential|password", field) is not None
        report.dropped(
            MODELS,
            f"litellm_params.{field[:60]}",
            "a secret: set it as an environment variable or a file"
            if secret
            else "not taken over; see the lane's fields",
            name,
        )
    for field, value in info.items():
        if field not in ("base_model", "access_groups", "mode", "id", *RATES) and value not in (
            None,
            "",
            [],
            {},
            False,
        ):
            report.dropped(MODELS, f"model_info.{field[:60]}", "not taken over", name)
    if "access_groups" in info:
        report.changed(
            MODELS, "model_info.access_groups", "written into the lists of models of keys and customers", name
        )
    mode = info.get("mode")
    kind = "embed" if mode == "embedding" or (mode is None and EMBEDS.search(upstream)) else "chat"
    return ModelRecord(name, provider, upstream, base_url, kind, rates, note)


def readable(value: object) -> str | None:
    """A text that is not encrypted."""
    written = values.shown(value, 400) if isinstance(value, str) else None
    return None if written is None or ENCRYPTED.fullmatch(written) else written


def split(model: str, provider: str | None) -> tuple[str, str]:
    """LiteLLM's provider and the vendor's model name of `provider/model`; without a provider, by the name."""
    before, slash, after = model.partition("/")
    if provider is not None:
        return provider, after if slash and before == provider else model
    if slash and after:
        return before, after
    for beginning, known in (("claude", "anthropic"), ("gemini", "gemini"), ("voyage", "voyage")):
        if model.startswith(beginning):
            return known, model
    return "openai", model


def rates_in(params: Mapping[str, object], info: Mapping[str, object], report: Report) -> dict[str, Decimal]:
    """The rates for a million tokens."""
    found = {}
    for field, rate in RATES.items():
        for where, given in (("litellm_params", params), ("model_info", info)):
            price = values.number(given.get(field))
            if price is not None and 0 <= price < 1 and rate not in found:
                found[rate] = (price * 1_000_000).quantize(Decimal("1e-9")).normalize()
                report.taken(MODELS, f"{where}.{field}")
    return found

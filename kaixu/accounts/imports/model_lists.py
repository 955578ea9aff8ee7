"""Lists of allowed models of other gateways as this gateway's allowlists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kaixu.accounts.fields import MOST_LISTED, MOST_MODELS, MOST_NAME

from .values import is_no_list, printable, text_list

#: LiteLLM's words for "every model", "what the team may use", "no model".
ALL = {"*", "all-proxy-models", "all-team-models"}
NO_MODELS = "no-default-models"


class ModelList(NamedTuple):
    """An allowlist: `{"provider" | "*": ["model" | "*"]}`; None allows every model. `reason`: what is different."""

    allowed: dict[str, list[str]] | None
    reason: str | None


def litellm_list(value: object, groups: Mapping[str, list[str]]) -> ModelList:
    """A field of LiteLLM with a list of models. One that is there and cannot be read allows none."""
    if is_no_list(value):
        return ModelList({}, "it cannot be read, so no model is allowed")
    return litellm_models(text_list(value), groups)


def litellm_models(names: Iterable[str], groups: Mapping[str, list[str]]) -> ModelList:
    """A list of LiteLLM: model names, `provider/*`, its own words, and names of groups of models."""
    listed = [printable(name) for given in names for name in groups.get(given, [given])]
    if not listed or ALL & {*listed}:
        return ModelList(None, None)
    allowed: dict[str, list[str]] = {}
    reason = None
    for name in listed:
        if name == NO_MODELS:
            continue
        provider, slash, model = name.partition("/")
        if not slash:
            provider, model = "*", name
        if "*" in model and model != "*":
            reason = "a pattern within a name is taken as its whole lane"
            model = "*"
        if provider and model and len(provider) <= MOST_NAME and len(model) <= MOST_NAME:
            allowed.setdefault(provider.lower(), []).append(model)
    return limited(allowed, reason)


def plain_models(names: Iterable[str]) -> ModelList:
    """A list of model names; an empty one allows every model. Names that no model here can have allow none."""
    given = [name for name in names if name.strip()]
    if not given:
        return ModelList(None, None)
    listed = [name for one in given if (name := printable(one).strip()) and len(name) <= MOST_NAME]
    reason = None if len(listed) == len(given) else "names that no model can have here are left out"
    return limited({"*": listed} if listed else {}, reason)


def limited(allowed: dict[str, list[str]], reason: str | None) -> ModelList:
    """The list within this gateway's limits: what is beyond them is not allowed."""
    if len(allowed) > MOST_LISTED or any(len(models) > MOST_MODELS for models in allowed.values()):
        reason = f"only the first {MOST_MODELS} models of each of {MOST_LISTED} lanes are allowed"
    first = list(allowed.items())[:MOST_LISTED]
    return ModelList({provider: list(dict.fromkeys(models))[:MOST_MODELS] for provider, models in first}, reason)

"""The fields that pick providers, models and collections of the catalogue, and what they mean for the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.catalog.catalog import Catalog
from kaixu.plugin.errors import Unprocessable
from kaixu.web.components import Field, Option
from kaixu.web.form_data import FormData

ALL, ONLY = "all", "only"
MODES = (Option(ALL, "all of them"), Option(ONLY, "only these"))


def allowlist_fields(catalog: Catalog, row: Mapping[str, Any], *, whose: str) -> list[Field]:
    """Providers and models as boxes; those of the row that the catalogue does not have are among them.

    `whose`: whose lists hold as well, in words.
    """
    providers = list(row.get("allowed_providers") or ())
    models = row.get("allowed_models")
    ticked = model_values(models or {})
    return [
        Field(
            name="allowed_providers",
            label="Allowed providers",
            type="checkboxes",
            values=providers,
            options=provider_options(catalog, providers),
            hint=f"None ticked: all that {whose}.",
        ),
        Field(
            name="models_mode",
            label="Allowed models",
            type="select",
            value=ALL if models is None else ONLY,
            options=MODES,
            hint=f"All: every model that {whose}. Only these, and none ticked: no model at all.",
        ),
        Field(
            name="allowed_models",
            label="The models",
            type="checkboxes",
            values=ticked,
            options=model_options(catalog, ticked),
            hint="For “only these”. A call must be allowed by both lists.",
        ),
    ]


def provider_options(catalog: Catalog, ticked: Sequence[str]) -> list[Option]:
    """A box for each lane, and for each further name that is ticked."""
    options = []
    for lane in catalog.lanes.values():
        shown = f"{lane.name} (clients see {lane.public_name})" if lane.public_name != lane.name else lane.name
        options.append(Option(lane.name.lower(), shown))
    known = {option.value for option in options}
    return options + [Option(name, name) for name in ticked if name not in known]


def model_options(catalog: Catalog, ticked: Sequence[str]) -> list[Option]:
    """A box for each model, and for each further one that is ticked."""
    options = []
    for lane in catalog.lanes.values():
        group = lane.name
        options.append(Option(f"{lane.name.lower()}/*", f"every model of {lane.name}", group))
        options += [Option(f"{lane.name.lower()}/{name}", name, group) for name in lane.section.models]
    known = {option.value for option in options}
    return options + [Option(name, name, "others") for name in ticked if name not in known]


def model_values(models: Mapping[str, Sequence[str]]) -> list[str]:
    """An allowlist of models as the values of boxes."""
    return [f"{provider}/{model}" for provider, listed in models.items() for model in listed]


def read_allowlists(form: FormData) -> dict[str, Any]:
    """The two lists as the API takes them. Raises `Unprocessable` for boxes that would mean nothing."""
    models: dict[str, list[str]] | None = None
    ticked = form.all("allowed_models")
    if form.get("models_mode") != ONLY:
        if ticked:
            raise Unprocessable(
                "models are ticked, but all of them are allowed",
                hint="Choose “only these”, or untick them.",
                field="models_mode",
            )
    else:
        models = {}
        for value in ticked:
            provider, _, model = value.partition("/")
            models.setdefault(provider, []).append(model)
    return {"allowed_providers": form.all("allowed_providers") or None, "allowed_models": models}

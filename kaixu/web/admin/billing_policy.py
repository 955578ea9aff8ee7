"""A customer's policy as a form: plan, caps, limits, allowlists, alerts; with what the plan sets and what deviates.

Only fields that differ from what the form showed are sent: the others stay the plan's, and another operator's change
is not undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.catalogue_choices import models_of
from kaixu.web.components import Card, Cell, Facts, Field, Form, Notice, Option, Part, Prose
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

from .limit_words import cents_text, thresholds_of

#: Shows a form again that was refused.
Again = Callable[[str, Form], Form]

#: Amounts, by the name of their field in the form and at the API.
AMOUNTS = {
    "monthly_cap": "monthly_cap_cents",
    "day_cap": "day_cap_cents",
    "end_user_cap": "end_user_cap_cents",
}
NUMBERS = ("max_devices_per_key", "tpm_limit", "max_vectors")
RULES = (
    Option("all", "all of those providers"),
    Option("chosen", "only those ticked below"),
    Option("none", "no model at all"),
)
MAILS = (
    Option("", "as kaixu.yaml says"),
    Option("true", "yes"),
    Option("false", "no"),
)
SEPARATOR = "/"


def shown(customer: Mapping[str, Any]) -> dict[str, str]:
    """Each field of the form as text, as the customer has it now."""
    models = customer["allowed_models"]
    thresholds = customer["alert_thresholds"]
    mail = customer["alert_mail"]
    return {
        "plan_name": customer["plan_name"],
        **{name: cents_text(customer[wire]) or "" for name, wire in AMOUNTS.items()},
        **{name: "" if customer[name] is None else str(customer[name]) for name in NUMBERS},
        "is_active": "true" if customer["is_active"] else "",
        "require_install_id": "true" if customer["require_install_id"] else "",
        "allowed_providers": ",".join(sorted(customer["allowed_providers"] or [])),
        "models_rule": "all" if models is None else "chosen" if models else "none",
        "allowed_models": ",".join(sorted(pairs_of(models))),
        "alert_thresholds": "" if thresholds is None else ", ".join(map(str, thresholds)) or "none",
        "alert_mail": "" if mail is None else "true" if mail else "false",
    }


def pairs_of(models: Mapping[str, Sequence[str]] | None) -> list[str]:
    """An allowlist of models as `provider/model`."""
    return [f"{provider}{SEPARATOR}{model}" for provider, ones in (models or {}).items() for model in ones]


def sent_fields(visit: Visit) -> dict[str, str]:
    """The same fields as the form sent them."""
    form = visit.form
    texts = ("plan_name", *AMOUNTS, *NUMBERS, "models_rule", "alert_thresholds", "alert_mail")
    return {
        **{name: form.get(name) for name in texts},
        "is_active": form.get("is_active"),
        "require_install_id": form.get("require_install_id"),
        "allowed_providers": ",".join(sorted(form.all("allowed_providers"))),
        "allowed_models": ",".join(sorted(form.all("allowed_models"))),
    }


async def change_policy(visit: Visit) -> str:
    """Send what differs from what the form showed. Raises `ApiFailure`, `Unprocessable`."""
    sent = sent_fields(visit)
    changed = {name for name, text in sent.items() if text != visit.form.get(f"was_{name}")}
    body: dict[str, Any] = {}
    for name in changed & AMOUNTS.keys():
        cents = visit.form.cents(name)
        body[AMOUNTS[name]] = "plan" if cents is None and name == "monthly_cap" else cents
    for name in changed & {*NUMBERS}:
        body[name] = visit.form.number(name)
    for name in changed & {"is_active", "require_install_id"}:
        body[name] = sent[name] == "true"
    if "plan_name" in changed:
        body["plan_name"] = sent["plan_name"] or None
    if "alert_thresholds" in changed:
        body["alert_thresholds"] = thresholds_of(sent["alert_thresholds"])
    if "alert_mail" in changed:
        body["alert_mail"] = {"true": True, "false": False}.get(sent["alert_mail"])
    if "allowed_providers" in changed:
        body["allowed_providers"] = visit.form.all("allowed_providers") or None
    if changed & {"models_rule", "allowed_models"}:
        ticked = visit.form.all("allowed_models")
        if "allowed_models" in changed and ticked and sent["models_rule"] != "chosen":
            raise Unprocessable(
                "models are ticked, but the rule is another",
                hint="Choose “only those ticked below”, or untick them.",
                field="models_rule",
            )
        body["allowed_models"] = chosen_models(sent["models_rule"], ticked)
    if not body:
        return "unchanged"
    try:
        await visit.api.send("PATCH", "admin-customers", body, customer_id=visit.customer_id)
    except ApiFailure as failure:
        wire_names = {wire: name for name, wire in AMOUNTS.items()}
        failure.field = wire_names.get(failure.field, failure.field)
        raise
    return "policy"


def chosen_models(rule: str, ticked: Sequence[str]) -> dict[str, list[str]] | None:
    """The allowlist of models. Raises `Unprocessable` where models are to be chosen and none is."""
    if rule == "none":
        return {}
    if rule != "chosen":
        return None
    models: dict[str, list[str]] = {}
    for pair in ticked:
        provider, _, model = pair.partition(SEPARATOR)
        models.setdefault(provider, []).append(model)
    if not models:
        raise Unprocessable(
            "no model is ticked", hint="Tick some, or choose all models, or no model at all.", field="allowed_models"
        )
    return models


def policy_card(visit: Visit, plans: Sequence[Mapping[str, Any]], again: Again, *, may_change: bool) -> Card:
    """The policy: a form for those who may change it, else a list."""
    assert visit.customer is not None
    customer = visit.customer
    values = shown(customer)
    fields = policy_fields(visit, customer, values, plans)
    if not may_change:
        items: list[tuple[str, Cell]] = [(field.label, readable(field)) for field in fields]
        return Card("Customer policy", [Facts(items)], width=7, id="policy")
    form = Form(
        action=TABS["billing"].path,
        submit="Save",
        id="policy-form",
        hidden={"do": "policy", "customer_id": str(customer["id"])}
        | {f"was_{name}": text for name, text in values.items()},
        fields=fields,
    )
    parts: list[Part] = [*deviation(customer, plans), again("policy", form), about()]
    return Card("Customer policy", parts, width=7, id="policy")


def readable(field: Field) -> Cell:
    """A field as text."""
    if field.type == "checkbox":
        return "yes" if field.checked else "no"
    if field.type == "checkboxes":
        return ", ".join(field.values) or "all"
    if field.type == "select":
        return next((one.text for one in field.options if one.value == field.value), field.value)
    return f"{field.value} {field.unit}".strip() if field.value else "none"


def deviation(customer: Mapping[str, Any], plans: Sequence[Mapping[str, Any]]) -> list[Notice]:
    """What the plan sets, and where the customer has values of its own."""
    plan = next((one for one in plans if one["name"] == customer["plan_name"]), None)
    if plan is None:
        text = f"{customer['plan_name']} is only a label: kaixu.yaml has no plan of this name, so it sets nothing."
        return [Notice("info", text)]
    sets = ", ".join(LABELS.get(name, name) for name in customer["from_plan"]) or "nothing here"
    own = ", ".join(LABELS.get(name, name) for name in customer["plan_deviations"])
    text = f"From the plan {plan['name']} (version {plan['version']}): {sets}."
    if own:
        text += f" Own values instead of the plan's: {own}."
    factor = "" if customer["price_factor"] == "1" else f" Prices × {customer['price_factor']}."
    return [Notice("info", text, f"A field that is emptied goes back to the plan.{factor}")]


#: The fields of the API in words.
LABELS = {
    "plan_name": "plan",
    "monthly_cap_cents": "monthly cap",
    "day_cap_cents": "cap a day",
    "end_user_cap_cents": "cap of each end user",
    "max_devices_per_key": "devices per key",
    "require_install_id": "install id",
    "allowed_providers": "providers",
    "allowed_models": "models",
    "tpm_limit": "tokens a minute",
    "max_vectors": "vectors",
    "price_factor": "prices",
}


def policy_fields(
    visit: Visit, customer: Mapping[str, Any], values: Mapping[str, str], plans: Sequence[Mapping[str, Any]]
) -> list[Field]:
    """The fields."""
    from_plan = {*customer["from_plan"]}
    own = {*customer["plan_deviations"]}

    def source(wire: str, otherwise: str) -> str:
        if wire in from_plan:
            return "From the plan. "
        return "Own value; empty: the plan's. " if wire in own else otherwise

    allowed = customer["allowed_providers"] or []
    pairs = pairs_of(customer["allowed_models"])
    return [
        Field(name="plan_name", label="Plan", value=values["plan_name"], maxlength=40, required=True,
              suggestions=[one["name"] for one in plans],
              hint="A plan of kaixu.yaml sets limits and prices; any other name is a label of your own."),
        Field(name="monthly_cap", label="Monthly cap", unit="USD", value=values["monthly_cap"], maxlength=20,
              hint=source("monthly_cap_cents", "") + "All keys together. 0 refuses every call."),
        Field(name="is_active", label="Active: calls are served", type="checkbox", checked=customer["is_active"],
              hint="Without it every call is refused from now on."),
        Field(name="require_install_id", label="Require an install id", type="checkbox",
              checked=customer["require_install_id"],
              hint="Each call must name its device in the header x-kaixu-install-id."),
        Field(name="max_devices_per_key", label="Devices per key", type="number", min="0", step="1",
              value=values["max_devices_per_key"],
              hint=source("max_devices_per_key", "") + "Of keys without a limit of their own. Empty or 0: no limit."),
        Field(name="day_cap", label="Cap a day", unit="USD", value=values["day_cap"], maxlength=20,
              hint=source("day_cap_cents", "") + "Days are UTC. Empty: none."),
        Field(name="tpm_limit", label="Tokens a minute", type="number", min="0", step="1", value=values["tpm_limit"],
              hint=source("tpm_limit", "") + "All keys together. Empty: no limit."),
        Field(name="end_user_cap", label="Cap of each end user", unit="USD a month", value=values["end_user_cap"],
              maxlength=20, hint=source("end_user_cap_cents", "") + "For calls that name an end user. Empty: none."),
        Field(name="max_vectors", label="Vectors", type="number", min="0", step="1", value=values["max_vectors"],
              hint=source("max_vectors", "") + "In all collections together. Empty: the gateway's limit."),
        Field(name="alert_thresholds", label="Alert thresholds", unit="percent", value=values["alert_thresholds"],
              placeholder="50, 85, 100", maxlength=100,
              hint="Of the monthly cap. Empty: the gateway's. “none”: no alerts."),
        Field(name="alert_mail", label="Alerts by mail to the customer", type="select", value=values["alert_mail"],
              options=MAILS),
        Field(name="allowed_providers", label="Allowed providers", type="checkboxes", values=allowed,
              options=provider_choices(visit, allowed),
              hint=source("allowed_providers", "")
              + "None ticked: all (or the plan's). “Every provider” also overrides a plan that allows fewer."),
        Field(name="models_rule", label="Allowed models", type="select", value=values["models_rule"], options=RULES,
              hint=source("allowed_models", "") + "A call must be allowed by both lists, and by those of its key."),
        Field(name="allowed_models", label="Models", type="checkboxes", values=pairs,
              options=model_choices(visit, pairs), hint="For “only those ticked below”."),
    ]  # fmt: skip


def provider_choices(visit: Visit, allowed: Sequence[str]) -> list[Option]:
    """The providers that there are, and those that are allowed although no lane has their name."""
    catalog = visit.services.catalog
    names = sorted({*(name.lower() for name in catalog.lanes), *(name.lower() for name in catalog.integrations)})
    also = sorted({*catalog.providers} - {*names})
    other = [name for name in allowed if name not in names and name not in also and name != "*"]
    return [
        Option("*", "every provider"),
        *(Option(name, name) for name in names),
        *(Option(name, f"{name} (another name of a lane)") for name in also),
        *(Option(name, f"{name} (not in kaixu.yaml)") for name in other),
    ]


def model_choices(visit: Visit, pairs: Sequence[str]) -> list[Option]:
    """The models of each lane, the whole lane first; and those that are allowed although no lane has them."""
    options: list[Option] = []
    catalog = visit.services.catalog
    for lane in sorted(catalog.lanes):
        name = lane.lower()
        options.append(Option(f"{name}{SEPARATOR}*", "all of this lane", lane))
        options += [Option(f"{name}{SEPARATOR}{model}", model, lane) for model in models_of(catalog, lane)]
    known = {option.value for option in options}
    group = "under other names, or not in kaixu.yaml"
    return [*options, *(Option(pair, pair, group) for pair in pairs if pair not in known)]


def about() -> Prose:
    """What saving does."""
    return Prose(
        tip=True,
        paragraphs=[
            "Save sends only what you changed. It holds from the next call on, on every gateway; calls that are "
            "running end as they were admitted. A key's own limits only ever narrow these."
        ],
    )

"""The form of a key's settings: each says what holds where it is left empty; and what the form means for the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.plugin.errors import Unprocessable
from kaixu.web.components import Field, Form, Link, Option
from kaixu.web.form_data import FormData
from kaixu.web.formats import money
from kaixu.web.visits import Visit

from .allowlist_fields import ALL, MODES, ONLY, allowlist_fields, read_allowlists
from .limit_words import cents_text, thresholds_of

ROLES = (
    Option("viewer", "viewer: chats, embeddings, searches"),
    Option("deployer", "deployer: also stores into collections"),
    Option("admin", "admin: also sees all keys of the account, redeems codes"),
    Option("owner", "owner: everything a key can do"),
)

#: Whole numbers of the API, which the form has under the same name.
NUMBERS = ("rpm_limit", "rpd_limit", "tpm_limit", "max_devices", "group_id")

#: Amounts: the field of the form, and that of the API.
AMOUNTS = {"monthly_cap": "monthly_cap_cents", "day_cap": "day_cap_cents"}

#: The limits of one model in a line of the form, and their names in the API.
OF_MODEL = {"rpm": "rpm", "tpm": "tpm", "day": "day_cap_cents"}


def key_form(
    visit: Visit,
    *,
    action: str,
    submit: str,
    row: Mapping[str, Any],
    groups: Sequence[Mapping[str, Any]],
    plan: Mapping[str, Any],
    cancel: Link,
) -> Form:
    """The form with the values of `row`; empty for a new key. `plan`: what the customer's plan sets."""
    assert visit.customer is not None
    is_new = not row
    fields = [
        Field(name="what", label="What it is", type="heading"),
        Field(name="label", label="Label", value=row.get("label", ""), maxlength=60, placeholder="subkey",
              hint="Who or what uses it: laptop of Ada, nightly job."),
    ]  # fmt: skip
    if is_new:
        fields.append(
            Field(name="role", label="Role", type="select", value="deployer", options=ROLES,
                  hint="It cannot be changed later, and a rotation keeps it."),
        )  # fmt: skip
    fields += [
        Field(name="group_id", label="Group", type="select", value=str(row.get("group_id") or ""),
              options=[Option("", "none"), *(Option(str(one["id"]), one["name"]) for one in groups)],
              hint="The group's limits hold as well, for all of its keys together."),
        Field(name="expires_at", label="Expires", value=row.get("expires_at") or "", maxlength=40,
              placeholder="2027-01-31T18:00:00Z",
              hint="A day (from its beginning, UTC) or a time. Empty: it does not expire."),
        *money_fields(visit.customer, row),
        *rate_fields(visit, row, plan),
        *device_fields(visit.customer, row),
        Field(name="may", label="What it may use", type="heading",
              hint="The key's lists only narrow those of the customer: a call must be allowed by both."),
        *allowlist_fields(visit.services.catalog, row, whose="the customer may use"),
        *collection_fields(row),
        *model_limit_fields(visit, row),
    ]  # fmt: skip
    hidden = {"customer_id": str(visit.customer_id)}
    if not is_new:
        hidden["key_id"] = str(row["id"])
    return Form(action=action, submit=submit, fields=fields, hidden=hidden, cancel=cancel, id="key")


def money_fields(customer: Mapping[str, Any], row: Mapping[str, Any]) -> list[Field]:
    """The caps, and the alerts about them."""
    cap = money(cents_text(customer["monthly_cap_cents"]))
    day = customer["day_cap_cents"]
    own_day = (
        f"the customer's {money(cents_text(day))} a day binds" if day is not None else "only the caps of the month bind"
    )
    thresholds = row.get("alert_thresholds")
    alerts = "" if thresholds is None else ", ".join(map(str, thresholds)) or "none"
    return [
        Field(name="money", label="Money", type="heading"),
        Field(name="monthly_cap", label="Cap override", unit="USD a month", maxlength=20,
              value=cents_text(row.get("monthly_cap_cents")) or "",
              hint=f"Empty: the customer cap of {cap} binds. 0 refuses every call."),
        Field(name="day_cap", label="Cap of a day", unit="USD a day", maxlength=20,
              value=cents_text(row.get("day_cap_cents")) or "",
              hint=f"Days are UTC. Empty: {own_day}."),
        Field(name="alert_thresholds", label="Alerts at", unit="% of its cap", maxlength=60, value=alerts,
              placeholder="50, 85, 100", hint="Empty: as for the customer. “none”: no alerts."),
    ]  # fmt: skip


def rate_fields(visit: Visit, row: Mapping[str, Any], plan: Mapping[str, Any]) -> list[Field]:
    """How many requests and tokens."""
    assert visit.customer is not None
    tpm = visit.customer["tpm_limit"]
    planned = set(row.get("from_plan") or ())
    rpm = f"the plan's {plan['rpm']}" if plan.get("rpm") is not None else (
        f"the gateway's {visit.services.settings.default_rpm_limit}"
    )  # fmt: skip
    rpd = f"the plan's {plan['rpd']}" if plan.get("rpd") is not None else "no limit of a day"
    all_keys = f"only the customer's {tpm:,} for all keys together" if tpm is not None else "no limit"

    def own(name: str) -> str:
        value = row.get(name)
        return "" if value is None or name in planned else str(value)

    return [
        Field(name="rates", label="Rates", type="heading"),
        Field(name="rpm_limit", label="RPM override (requests)", unit="a minute", type="number", min="0",
              value=own("rpm_limit"), hint=f"Empty: {rpm} a minute. 0 refuses every call."),
        Field(name="rpd_limit", label="Requests a day", unit="a day", type="number", min="0",
              value=own("rpd_limit"), hint=f"Empty: {rpd}."),
        Field(name="tpm_limit", label="Tokens a minute", unit="a minute", type="number", min="0",
              value=own("tpm_limit"), hint=f"Input and output. Empty: {all_keys}."),
    ]  # fmt: skip


def device_fields(customer: Mapping[str, Any], row: Mapping[str, Any]) -> list[Field]:
    """Seats, and whether calls must name their device."""
    seats = customer["max_devices_per_key"]
    own = row.get("max_devices")
    empty = f"the customer's {seats} seats" if seats else "no limit of seats; at most 1,000 devices are stored"
    hint = "Calls without x-kaixu-install-id are refused, so that every device takes a seat of its own."
    if customer["require_install_id"]:
        hint = "The customer requires it from every key already."
    return [
        Field(name="devices", label="Devices", type="heading"),
        Field(name="max_devices", label="Max devices", unit="seats", type="number", min="0",
              value="" if own is None else str(own), hint=f"Empty: {empty}. 0: no limit."),
        Field(name="require_install_id", label="Require an install id", type="checkbox",
              checked=bool(row.get("require_install_id")), hint=hint),
    ]  # fmt: skip


def collection_fields(row: Mapping[str, Any]) -> list[Field]:
    """The collections of stored texts that the key may use."""
    listed = row.get("allowed_collections")
    return [
        Field(name="collections_mode", label="Allowed collections", type="select",
              value=ALL if listed is None else ONLY, options=MODES,
              hint="All: every collection of the customer. Only these, and no name: none."),
        Field(name="allowed_collections", label="The collections", value=", ".join(listed or ()), maxlength=4000,
              placeholder="docs, wiki", hint="Names with commas, for “only these”."),
    ]  # fmt: skip


def model_limit_fields(visit: Visit, row: Mapping[str, Any]) -> list[Field]:
    """The limits of single models, a line each."""
    lines = []
    for name, limits in (row.get("limits") or {}).items():
        shown = {word: limits[field] for word, field in OF_MODEL.items() if limits.get(field) is not None}
        words = (f"{word}={cents_text(value) if word == 'day' else value}" for word, value in shown.items())
        lines.append(" ".join([name, *words]))
    lane = next(iter(visit.services.catalog.lanes.values()), None)
    example = f"{lane.name}/{next(iter(lane.section.models))}" if lane is not None else "provider/model"
    return [
        Field(name="limits", label="Limits of single models", type="textarea", value="\n".join(lines), rows=3,
              placeholder=f"{example} rpm=10 tpm=20000 day=0.50",
              hint="A line for each model: provider/model, then rpm=, tpm= (a minute) and day= (USD a day), any of "
              "them. Empty: only the key's limits above."),
    ]  # fmt: skip


def read_key_form(form: FormData, *, is_new: bool) -> dict[str, Any]:
    """What the form means for the API: an empty field clears its limit. Raises `Unprocessable` naming a field."""
    body: dict[str, Any] = {"label": form.get("label") or None}
    if is_new:
        body["role"] = form.get("role") or None
    for name in NUMBERS:
        body[name] = form.number(name)
    for name, field in AMOUNTS.items():
        body[field] = form.cents(name)
    body["expires_at"] = form.get("expires_at") or None
    body["alert_thresholds"] = thresholds_of(form.get("alert_thresholds"))
    body["require_install_id"] = True if form.has("require_install_id") else None
    names = [name.strip() for name in form.get("allowed_collections").split(",") if name.strip()]
    if names and form.get("collections_mode") != ONLY:
        raise Unprocessable(
            "collections are named, but all of them are allowed",
            hint="Choose “only these”, or clear the names.",
            field="collections_mode",
        )
    body["allowed_collections"] = names if form.get("collections_mode") == ONLY else None
    return body | read_allowlists(form) | {"limits": read_model_limits(form.raw("limits"))}


def read_model_limits(text: str) -> dict[str, dict[str, Any]] | None:
    """The limits of single models: `provider/model rpm=10 tpm=20000 day=0.50`. Raises `Unprocessable`."""
    limits: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        model, *words = line.split()[:10] or [""]
        if not model:
            continue
        values: dict[str, Any] = {}
        for word in words:
            name, _, value = word.partition("=")
            if name not in OF_MODEL:
                message = f"line {number}: write rpm=10, tpm=20000 or day=0.50 after the model"
                raise Unprocessable(message, field="limits")
            one = FormData([("limits", value)])
            try:
                values[OF_MODEL[name]] = one.cents("limits") if name == "day" else one.number("limits")
            except Unprocessable as error:
                raise Unprocessable(f"line {number}, {name}: {error.message}", field="limits") from None
        if not values:
            message = f"line {number}: {model[:100]} has no limit; write rpm=, tpm= or day= after it"
            raise Unprocessable(message, field="limits")
        limits[model] = values
    return limits or None


#: Fields of the API under the names of the form, for what it says about them.
FORM_NAMES = {field: name for name, field in AMOUNTS.items()}

"""The form that makes the piece of kaixu.yaml for a new lane. It is shown to be pasted; nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from kaixu.accounts.operator_identity import SETTINGS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Field, Form, Link, Notice, Option, Page, Part, Prose, Snippet
from kaixu.web.form_data import FormData, shown_again
from kaixu.web.formats import plain_text, sentence
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .lane_cells import NEW

TAB = TABS["lanes"]

#: The models of one form. More are added in the file.
MODELS = 2

#: Options that lists or mappings stand for are written in the file itself.
SHOWN_SECRETS = ("api_key",)


def lane_new_routes(site: Site) -> list[Route]:
    """The routes of the form."""
    return site.operator_page(NEW, new, tab=TAB, access=SETTINGS, posts=True)


async def new(visit: Visit) -> Page | Reply:
    """First the plugin is chosen, then its fields are filled in; a POST shows the piece."""
    plugins = (await visit.api.get("admin-lane-snippet"))["plugins"]
    name = visit.form.get("plugin") or visit.query.get("plugin", "")
    plugin = next((one for one in plugins if one["name"] == name), None)
    choose = Form(
        action=NEW,
        method="get",
        inline=True,
        submit="Choose",
        hint="The kind of vendor. openai also speaks to every vendor with an API like OpenAI's.",
        fields=[
            Field(name="plugin", label="Plugin", type="select", value=name,
                  options=[Option("", "choose …"), *(Option(one["name"], one["name"]) for one in plugins)]),
        ],
    )  # fmt: skip
    parts: list[Part] = [Card("1. Plugin", [choose])]
    status = 200
    if plugin is not None:
        form = lane_form(plugin)
        if visit.is_post:
            try:
                result = await visit.api.send("POST", "admin-lane-snippet", body_of(visit.form, plugin))
                parts += result_parts(result)
                form = filled_in(form, visit.form)
            except ApiFailure as failure:
                failure.field = {"name": "name", "models": "model_1", "plugin": "plugin"}.get(failure.field, "")
                form, status = shown_again(form, visit.form, failure), failure.status
        parts.append(Card("2. Lane and models", [form]))
    return Page(
        title="Add a lane",
        subtitle="Makes the piece to paste into kaixu.yaml. These pages never write the file.",
        parts=parts,
        actions=[Link("All lanes", TAB.path)],
        status=status,
    )


def shown_options(plugin: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The options that the form has fields for."""
    return [
        one
        for one in plugin["options"]
        if (one["is_secret"] and one["name"] in SHOWN_SECRETS) or (not one["is_secret"] and one["is_plain"])
    ]


def lane_form(plugin: Mapping[str, Any]) -> Form:
    """The fields of a plugin, and of some models."""
    name = plugin["name"]
    fields = [
        Field(name="name", label="Name of the lane", required=True, maxlength=80, placeholder=name,
              hint="The provider name that clients send."),
    ]  # fmt: skip
    for one in shown_options(plugin):
        described = sentence(one["description"]) if one["description"] else ""
        if one["is_secret"]:
            variable = f"{name.upper()}_API_KEY"
            fields.append(
                Field(name=f"variable_{one['name']}", label=f"Variable for {one['name']}", value=variable,
                      required=one["is_required"], maxlength=100,
                      hint="The name of the environment variable that holds the key. Never the key itself.")
            )  # fmt: skip
        else:
            default = f" Empty: {one['default']}." if one["default"] else ""
            fields.append(
                Field(name=f"option_{one['name']}", label=one["name"], required=one["is_required"], maxlength=500,
                      placeholder=one["default"] or "", hint=f"{described}{default}".strip())
            )  # fmt: skip
    for number in range(1, MODELS + 1):
        fields += model_fields(number)
    return Form(id="lane", action=NEW, submit="Show the piece", hidden={"plugin": name}, fields=fields)


def model_fields(number: int) -> list[Field]:
    """The fields of one model."""
    kinds = [Option("chat", "chat"), Option("embed", "embeddings")]
    return [
        Field(name=f"model_{number}", label=f"Model {number}", required=number == 1, maxlength=80, wide=True,
              hint="The name that clients send." if number == 1 else "Leave it empty if there is none."),
        Field(name=f"type_{number}", label=f"Type of model {number}", type="select", options=kinds),
        Field(name=f"upstream_{number}", label=f"Vendor's name of model {number}", maxlength=200,
              hint="Empty: the same name."),
        Field(name=f"price_input_usd_{number}", label=f"Price {number}, input", unit="USD / M tokens", maxlength=20),
        Field(name=f"price_output_usd_{number}", label=f"Price {number}, output", unit="USD / M tokens", maxlength=20),
        Field(name=f"price_{number}", label=f"Or price {number} from the list", maxlength=40,
              placeholder="list + 30%", hint="The vendor's list price, with your addition."),
        Field(name=f"cost_input_usd_{number}", label=f"Cost {number}, input", unit="USD / M tokens", maxlength=20),
        Field(name=f"cost_output_usd_{number}", label=f"Cost {number}, output", unit="USD / M tokens", maxlength=20),
        Field(name=f"dimensions_{number}", label=f"Dimensions {number}", type="number", min="1", max="100000",
              step="1", hint="Embeddings only."),
    ]  # fmt: skip


def body_of(form: FormData, plugin: Mapping[str, Any]) -> dict[str, Any]:
    """What the form sends to the API."""
    options, variables = {}, {}
    for one in shown_options(plugin):
        if one["is_secret"] and (variable := form.get(f"variable_{one['name']}")):
            variables[one["name"]] = variable
        if not one["is_secret"] and (text := form.get(f"option_{one['name']}")):
            options[one["name"]] = text
    models = []
    for number in range(1, MODELS + 1):
        if not (name := form.get(f"model_{number}")):
            continue
        model: dict[str, Any] = {"name": name}
        for field in ("type", "upstream", "price", "price_input_usd", "price_output_usd", "cost_input_usd",
                      "cost_output_usd"):  # fmt: skip
            if text := form.get(f"{field}_{number}"):
                model[field] = text
        if (dimensions := form.get(f"dimensions_{number}")).isdecimal():
            model["dimensions"] = int(dimensions[:7])
        models.append(model)
    body = {"name": form.get("name"), "plugin": plugin["name"]}
    return body | {"options": options, "variables": variables, "models": models}


def filled_in(form: Form, given: FormData) -> Form:
    """The form with what was given."""
    return replace(form, fields=[replace(one, value=given.raw(one.name) or one.value) for one in form.fields])


def result_parts(result: Mapping[str, Any]) -> list[Part]:
    """The piece, or what is wrong with it."""
    parts: list[Part] = []
    if result["mistakes"]:
        parts.append(Notice(state="bad", text="kaixu.yaml would be refused with this:", hint=""))
        parts.append(Prose(paragraphs=[], items=[plain_text(one) for one in result["mistakes"]]))
    else:
        parts.append(Notice(state="good", text="This piece is valid."))
    steps = ["Put the lane below lanes: in kaixu.yaml. The file has that word once."]
    if result["variables"]:
        names = ", ".join(result["variables"])
        steps.append(f"Set {names} where the gateway is started. A new variable needs a restart.")
    steps += [
        "Run kaixu check: it names every mistake with its line, and changes nothing.",
        "Run kaixu reload: running calls keep what they began with.",
        "Come back and make a test call.",
    ]
    snippet = Snippet(result["yaml"], language="yaml", title="For kaixu.yaml")
    parts.append(Card("3. Paste it", [snippet, Prose(paragraphs=[], items=steps)]))
    return parts

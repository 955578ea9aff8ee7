"""`admin-lane-snippet`: what plugins for lanes there are, and the piece of kaixu.yaml for a new lane, checked.

The file itself is the operator's: nothing is written to it from here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from kaixu.accounts.fields import MOST_NAME, require_known
from kaixu.accounts.operator_identity import SETTINGS
from kaixu.catalog.lane_snippet import LanePlugin, Rate, check_snippet, lane_kinds, lane_plugin, lane_yaml
from kaixu.config.mistakes import did_you_mean
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Unprocessable

KNOWN = ("name", "plugin", "options", "variables", "models")
OF_MODEL = ("name", "type", "upstream", "price", "price_input_usd", "price_output_usd", "cost_input_usd",
            "cost_output_usd", "dimensions")  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
RATE = re.compile(r"[0-9]{1,7}(\.[0-9]{1,9})?")
MOST_MODELS = 50
MOST_TEXT = 500


def lane_snippet_routes(services: Services) -> list[Route]:
    """The routes of the pieces."""
    folder = services.settings.kaixu_config.resolve().parent

    async def show(request: IncomingRequest) -> Reply:
        kinds = await asyncio.to_thread(lane_kinds, folder)
        plugins = [msgspec.to_builtins(lane_plugin(name, kind)) for name, kind in kinds.items()]
        return json_reply({"ok": True, "plugins": plugins})

    async def make(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, KNOWN)
        name = read_name(body.required_text("name", most=MOST_NAME), "name")
        kinds = await asyncio.to_thread(lane_kinds, folder)
        wanted = body.required_text("plugin", most=MOST_NAME)
        if wanted not in kinds:
            raise Unprocessable(f"there is no plugin `{wanted}`{did_you_mean(wanted, kinds)}", field="plugin")
        plugin = lane_plugin(wanted, kinds[wanted])
        variables = read_variables(body.get("variables"), plugin)
        section: dict[str, Any] = {"plugin": wanted, **read_options(body.get("options"), plugin)}
        section |= {option: f"${{{variable}}}" for option, variable in variables.items()}
        section["models"] = read_models(body.get("models"))
        text = lane_yaml(name, section)
        names = list(variables.values())
        mistakes = await asyncio.to_thread(check_snippet, text, name, kinds[wanted], names, folder)
        if name in services.catalog.lanes:
            mistakes = [f"there is a lane `{name}` already: choose another name, or change that one", *mistakes]
        return json_reply({"ok": not mistakes, "yaml": text, "mistakes": mistakes, "variables": names})

    return [
        operator_route(services, "GET", "admin-lane-snippet", show),
        operator_route(services, "POST", "admin-lane-snippet", make, access=SETTINGS),
    ]


def read_name(text: str, field: str) -> str:
    """A name of a lane or a model. Raises `Unprocessable`."""
    if not NAME.fullmatch(text):
        raise Unprocessable(f"`{field}` must be 1 to 80 letters, digits, dots, underscores and dashes", field=field)
    return text


def read_variables(value: object, plugin: LanePlugin) -> dict[str, str]:
    """The variables by option. Raises `Unprocessable`."""
    variables = {}
    for option, name in texts(value, "variables", plugin).items():
        if not VARIABLE.fullmatch(name):
            raise Unprocessable(
                "`variables` must name environment variables, like OPENAI_API_KEY",
                hint="Name the variable, not its value: the value stays in the gateway's environment.",
                field="variables",
            )
        variables[option] = name
    return variables


def read_options(value: object, plugin: LanePlugin) -> dict[str, str]:
    """The options by name. Raises `Unprocessable`, also for a secret: it would end up in the file."""
    options = texts(value, "options", plugin)
    secret = next((one.name for one in plugin.options if one.is_secret and one.name in options), None)
    if secret is not None:
        raise Unprocessable(f"`{secret}` is a secret: name a variable for it", field="variables")
    return options


def texts(value: object, field: str, plugin: LanePlugin) -> dict[str, str]:
    """A mapping from options of the plugin to text. Raises `Unprocessable`."""
    if value is None:
        return {}
    known = [one.name for one in plugin.options]
    if not isinstance(value, Mapping):
        raise Unprocessable(f"`{field}` must be an object", field=field)
    for name, text in value.items():
        if name not in known:
            shown = str(name)[:80]
            raise Unprocessable(
                f"plugin `{plugin.name}` has no option `{shown}`{did_you_mean(shown, known)}", field=field
            )
        if not isinstance(text, str) or len(text) > MOST_TEXT or not text.isprintable():
            raise Unprocessable(f"`{field}` must hold text of at most {MOST_TEXT} characters", field=field)
    return {str(name): str(text) for name, text in value.items() if text}


def read_models(value: object) -> dict[str, dict[str, Any]]:
    """The models by name. Raises `Unprocessable`."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_MODELS:
        raise Unprocessable(f"`models` must hold 1 to {MOST_MODELS} models", field="models")
    models: dict[str, dict[str, Any]] = {}
    for given in value:
        if not isinstance(given, dict):
            raise Unprocessable("`models` must hold objects", field="models")
        require_known(given, OF_MODEL)
        one = Fields(given)
        name = read_name(one.required_text("name", most=MOST_NAME), "models")
        if name in models:
            raise Unprocessable(f"`models` names `{name}` twice", field="models")
        models[name] = read_model(one)
    return models


def read_model(one: Fields) -> dict[str, Any]:
    """A model's section. Raises `Unprocessable`."""
    kind = one.one_of("type", ("chat", "embed")) or "chat"
    model: dict[str, Any] = {"type": kind}
    if upstream := one.text("upstream", most=200):
        model["upstream"] = upstream
    if kind == "embed" and (dimensions := one.integer("dimensions", 1, 100_000)):
        model["dimensions"] = dimensions
    for what in ("price", "cost"):
        rates = {kind: read_rate(one, f"{what}_{kind}_usd") for kind in ("input", "output")}
        if kind == "embed":
            rates.pop("output")
        rates = {name: rate for name, rate in rates.items() if rate is not None}
        if rates:
            model[what] = rates
    if "price" not in model and (terms := one.text("price", most=40)):
        model["price"] = terms
    return model


def read_rate(one: Fields, field: str) -> Rate | None:
    """A rate in USD per million tokens. Raises `Unprocessable`."""
    text = one.text(field, most=20)
    if not text:
        return None
    if not RATE.fullmatch(text):
        raise Unprocessable(f"`{field}` must be USD per million tokens, like 2.50", field=field)
    return Rate(text)

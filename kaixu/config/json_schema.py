"""The JSON Schema of kaixu.yaml, for editors. `python -m kaixu.cli.schema` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from kaixu.config.document import Document
from kaixu.config.sections import LaneSection, ModelSection

from .price_list import TERMS

Schema = dict[str, Any]
DEFINITIONS = "#/$defs/{model}"

#: Keys for people; they stay outside when a schema is wrapped.
ANNOTATIONS = ("description", "default")

#: The alternative to rates.
LISTED: Schema = {"type": "string", "pattern": f"^{TERMS.pattern}$"}

#: Any plain value may come from the environment, or from a file.
VARIABLE: Schema = {"type": "string", "pattern": r"\$\{(file:[^}]+|[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?)\}"}


def json_schema(lanes: Mapping[str, type[BaseModel]]) -> Schema:
    """The schema of the core's fields, and of the options of `lanes` by plugin name.

    A section that names another plugin may have any fields: only the plugin knows them.
    """
    schema = Document.model_json_schema(ref_template=DEFINITIONS)
    definitions: dict[str, Schema] = schema["$defs"]
    lane = definitions[LaneSection.__name__]
    lane["allOf"] = [
        {
            "if": {"properties": {"plugin": {"const": name}}, "required": ["plugin"]},
            "then": options_schema(options, lane["properties"], definitions),
        }
        for name, options in sorted(lanes.items())
    ]
    lane["properties"]["plugin"]["examples"] = sorted(lanes)
    for field in ("price", "cost"):
        definitions[ModelSection.__name__]["properties"][field]["anyOf"].insert(1, LISTED)
    schema["properties"] = {name: or_nothing(one) for name, one in schema["properties"].items()}
    finished: Schema = with_variables(schema)
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "kaixu.yaml"} | finished


def options_schema(options: type[BaseModel], core: Schema, definitions: dict[str, Schema]) -> Schema:
    """The fields of a lane's section that belong to its plugin."""
    schema = options.model_json_schema(ref_template=DEFINITIONS)
    definitions |= schema.get("$defs", {})
    return {
        "properties": dict.fromkeys(core, True) | schema.get("properties", {}),
        "required": schema.get("required", []),
        "additionalProperties": False,
    }


def or_nothing(schema: Schema) -> Schema:
    """Also allow a section with nothing below it."""
    if "type" in schema:  # a type list, so that editors still report mistakes inside
        return schema | {"type": [schema["type"], "null"]}
    words = {key: schema.pop(key) for key in ANNOTATIONS if key in schema}
    return words | {"anyOf": [schema, {"type": "null"}]}


def with_variables(schema: Any) -> Any:
    """Also allow `${NAME}` for every value that is not free text."""
    if isinstance(schema, list):
        return [with_variables(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if (
        schema.get("type") in ("integer", "number", "boolean")
        or isinstance(schema.get("enum"), list)
        or is_bound(schema)
    ):
        words = {key: schema[key] for key in ANNOTATIONS if key in schema}
        rest = {key: value for key, value in schema.items() if key not in (*words, "title")}
        return words | {"anyOf": [rest, VARIABLE]}
    return {key: with_variables(value) for key, value in schema.items() if not is_noise(key, value)}


def is_bound(schema: Schema) -> bool:
    """Whether a text must match a pattern, which `${NAME}` does not."""
    return schema.get("type") == "string" and isinstance(schema.get("pattern"), str) and schema != VARIABLE


def is_noise(key: str, value: Any) -> bool:
    """Whether pydantic added it and no editor needs it: titles from field names, marks on secrets."""
    return (key == "title" and isinstance(value, str)) or (key, value) in (
        ("format", "password"),
        ("writeOnly", True),
    )

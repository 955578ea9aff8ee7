"""GitHub's own description of its API, cut to a dozen paths: checks what is sent to the stand-in and what it answers.

`description/github.openapi.json` is from npm `@octokit/openapi` 23.0.2 (MIT, `description/LICENSE.github`).
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from openapi_core.validation.exceptions import ValidationError

FOLDER = Path(__file__).with_name("description")
HOST = "https://api.github.com"

#: A `/` within these parameters is literal for GitHub, and `%2F` for those who read the description.
WITH_SLASHES = re.compile(r"(/repos/[^/]+/[^/]+/(?:git/refs?|contents)/)(.+)")


@cache
def described() -> dict[str, Any]:
    """The description."""
    loaded: dict[str, Any] = json.loads((FOLDER / "github.openapi.json").read_text())
    return loaded


@cache
def checker() -> OpenAPI:
    return OpenAPI.from_dict(described())


def is_described(method: str, path: str) -> bool:
    """Whether the cut description has it."""
    return template_of(path) is not None and method.lower() in described()["paths"][template_of(path)]


@cache
def templates() -> dict[str, re.Pattern[str]]:
    return {
        template: re.compile(
            re.sub(r"\\{(ref|path)\\}", "(.+)", re.sub(r"\\{(?!ref|path)\w+\\}", "([^/]+)", re.escape(template)))
        )
        for template in described()["paths"]
    }


def template_of(path: str) -> str | None:
    """The path of the description that a request's is one of; the one with the fewest parameters."""
    found = [template for template, pattern in templates().items() if pattern.fullmatch(path)]
    return min(found, key=lambda template: template.count("{"), default=None)


def problems(method: str, path: str, query: dict[str, str], request: bytes, status: int, answer: bytes) -> list[str]:
    """What GitHub would not accept of a request, or not answer; nothing for what the description lacks."""
    if not is_described(method, path):
        return []
    encoded = WITH_SLASHES.sub(lambda match: match[1] + quote(match[2], safe=""), path)
    sent = MockRequest(HOST, method.lower(), encoded, args=query, data=request or None, content_type="application/json")
    found = []
    try:
        if status < 400:  # what it refuses may be wrong
            checker().validate_request(sent)
    except ValidationError as error:
        found.append(f"{method} {path}: {error}: {error.__cause__}")
    if status not in (304, 204) and status < 300:
        try:
            checker().validate_response(sent, MockResponse(answer, status, content_type="application/json"))
        except ValidationError as error:
            found.append(f"{status} of {method} {path}: {error}: {error.__cause__}")
    return found


def sample(schema: str, /, **values: Any) -> dict[str, Any]:
    """An object of a schema: what must be there, and `values`."""
    made = value_of({"$ref": f"#/components/schemas/{schema}"})
    assert isinstance(made, dict)
    return made | values


def value_of(schema: dict[str, Any]) -> Any:
    """A value that a schema allows."""
    if "$ref" in schema:
        return value_of(described()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if schema.get("nullable"):
        return None
    if "enum" in schema:
        return schema["enum"][0]
    for many in ("oneOf", "anyOf"):
        if many in schema and "properties" not in schema:
            return value_of(schema[many][0])
    if "allOf" in schema:
        return {name: value for one in schema["allOf"] for name, value in value_of(one).items()}
    match schema.get("type"):
        case "object" | None:
            properties = schema.get("properties", {})
            return {name: value_of(properties[name]) for name in schema.get("required", []) if name in properties}
        case "array":
            return []
        case "integer" | "number":
            return 1
        case "boolean":
            return False
    formats = {"date-time": "2026-01-02T03:04:05Z", "uri": "https://example.com/", "email": "a@example.com"}
    return formats.get(schema.get("format", ""), "text")

"""Netlify's own description of its API: what is sent to the stand-in, and what it answers, must agree with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from werkzeug.datastructures import Headers, ImmutableMultiDict

FILE = Path(__file__).with_name("netlify.openapi.json")
HOST = "https://api.netlify.com"


class SentRequest:
    """A request, as `openapi-core` reads one. Files are checked without their bytes."""

    def __init__(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> None:
        parts = urlsplit(target)
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(parse_qsl(parts.query, keep_blank_values=True)), header=Headers(dict(headers))
        )
        self.host_url = HOST
        self.path = "/api/v1" + whole_parameter(parts.path)
        self.method = method.lower()
        self.body = body
        self.content_type = headers.get("content-type", "").partition(";")[0]


class GivenAnswer:
    """An answer, as `openapi-core` reads one."""

    def __init__(self, status: int, body: Any) -> None:
        self.status_code = status
        self.headers = Headers({"content-type": "application/json"})
        self.content_type = "application/json"
        self.data = json.dumps(body).encode()


def whole_parameter(path: str) -> str:
    """A path in which that of a file is one parameter: its slashes are encoded."""
    before, found, name = path.partition("/files/")
    return before + found + name.replace("/", "%2F") if found else path


class Description:
    """Checks exchanges. Raises what is wrong with one."""

    def __init__(self) -> None:
        described = json.loads(FILE.read_text())
        # Its only scheme is OAuth in a browser; the stand-in checks the bearer token itself.
        described.pop("security", None)
        self.openapi = OpenAPI.from_dict(described)

    def check(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, status: int, answer: Any
    ) -> None:
        """Check a request, and what was answered."""
        request = SentRequest(method, target, headers, body)
        self.openapi.validate_request(request)
        if status != 204:
            self.openapi.validate_response(request, GivenAnswer(status, answer))

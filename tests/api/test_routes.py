"""The routes of the API: authentication, rate limit, body limit and error format of each."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from kaixu.catalog.core_names import CORE_FUNCTIONS, CORE_PATHS
from kaixu.edge.anthropic_errors import anthropic_error
from kaixu.edge.errors import native_error
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.routes import METHODS, Auth, Rate
from kaixu.gateway.app import Application
from kaixu.web.public.older_addresses import OLDER
from tests.api.admin.conftest import app as app  # a fixture
from tests.api.admin.conftest import services as services  # a fixture

#: The routes that cost nothing and that everybody may call as often as they like.
OPEN = {"/metrics", "/api/health", "/.netlify/functions/health"}

#: The routes whose bodies may be long although nobody is known: a client's error report holds a stack, and a vendor's
#: event a whole order.
LONG_AND_PUBLIC = {
    "/api/client-error-report",
    "/.netlify/functions/client-error-report",
    "/v1/<integration>/webhooks/<webhook>",
    "/api/<webhook_alias>",
    "/.netlify/functions/<webhook_alias>",
    "/api/stripe-webhook",
    "/.netlify/functions/stripe-webhook",
}
SMALL = 64 * 1024

#: Where functions are served; other paths are pages, their files, and what Prometheus reads.
FUNCTIONS = ("/.netlify/functions/", "/api/")


def test_every_route_has_a_rate_an_auth_a_bound_and_a_shape(app: Application) -> None:
    routes = app.exchange.routes.all
    assert len(routes) > 40
    for route in routes:
        assert route.method in METHODS, route
        assert route.paths, route
        assert route.rate in get_args(Rate), route
        assert route.auth in get_args(Auth), route
        assert (route.auth == "public") == (route.rate in ("open", "address")), route
        assert (route.auth == "operator") == (route.rate == "operator"), route
        is_file = route.paths[0].startswith("/gateway/static/") or route.paths == ("/favicon.ico",)
        is_open = set(route.paths) <= OPEN or is_file or route.paths[0] in OLDER
        assert (route.rate == "open") == is_open, route
        if route.auth == "public":
            assert route.max_body_bytes is not None, route
            assert route.max_body_bytes <= SMALL or set(route.paths) <= LONG_AND_PUBLIC, route
        body, status = route.error_shape({"error": "no", "code": "INVALID", "request_id": "id"}, 400)
        assert (status, "error" in body) == (400, True), route


def test_functions_are_served_under_both_prefixes(app: Application) -> None:
    for route in app.exchange.routes.all:
        if not any(path.startswith((*FUNCTIONS, "/v1/")) for path in route.paths):
            continue
        names = [path.rpartition("/")[2] for path in route.paths if not path.startswith("/v1/")]
        assert names == names[:1] * 2 or not names, route.paths


def test_no_integration_can_have_the_name_of_another_endpoint(app: Application) -> None:
    paths = (path for route in app.exchange.routes.all for path in route.paths if path.startswith("/v1/"))
    assert {path.split("/")[2] for path in paths} - {"<integration>"} <= CORE_PATHS


def test_no_integration_can_have_an_alias_that_is_an_endpoint(app: Application) -> None:
    served = {
        path.removeprefix(prefix)
        for route in app.exchange.routes.all
        for path in route.paths
        for prefix in FUNCTIONS
        if path.startswith(prefix) and "<" not in path and not route.is_placeholder
    }
    assert served == CORE_FUNCTIONS


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/a/b"])
def test_what_only_reads_has_the_rate_of_readings(app: Application, path: str) -> None:
    assert app.exchange.routes.find("GET", path).route.rate == "reading"


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/messages", anthropic_error),
        ("/v1/models/a", openai_error),
        ("/v1/batches/a/b/c", openai_error),
        ("/v1/nothing/here", openai_error),
        ("/api/gateway-chat", native_error),
        ("/api/nothing", native_error),
        ("/", native_error),
    ],
)
def test_the_route_chooses_how_errors_look_and_the_prefix_where_there_is_none(
    app: Application, path: str, shape: Any
) -> None:
    assert app.exchange.routes.error_shape_at(path) is shape

"""The lookup of routes."""

from __future__ import annotations

from collections.abc import Mapping
from time import process_time
from typing import Any

import pytest

from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route, Routes, WrongMethod


async def handler(request: IncomingRequest) -> Reply:
    """Any handler."""
    return json_reply({})


def route(method: str, *paths: str, **more: Any) -> Route:
    """A route to it."""
    return Route(method, paths, handler, auth="key", rate="call", **more)


def test_a_literal_path_comes_before_parameters_and_these_reach_the_handler() -> None:
    literal, one, rest = route("GET", "/v1/a/b"), route("GET", "/v1/<x>/b"), route("GET", "/v1/<x>/<path:y>")
    routes = Routes([rest, one, literal])
    assert routes.find("GET", "/v1/a/b") == (literal, {})
    assert routes.find("HEAD", "/v1/c/b") == (one, {"x": "c"})
    assert routes.find("GET", "/v1/c/d/e") == (rest, {"x": "c", "y": "d/e"})


@pytest.mark.parametrize("path", ["/v1/a", "/v1/f/5"])
def test_a_wrong_method_gets_the_list_of_allowed_methods(path: str) -> None:
    routes = Routes([route("GET", "/v1/a", "/v1/f/<x>"), route("DELETE", "/v1/a", "/v1/f/<x>")])
    with pytest.raises(WrongMethod) as caught:
        routes.find("POST", path)
    assert (caught.value.status, caught.value.allow) == (405, ("GET", "HEAD", "DELETE"))
    assert caught.value.hint == "Use GET or HEAD or DELETE."


def test_a_method_counts_only_as_it_is_written() -> None:
    routes = Routes([route("GET", "/v1/a", "/v1/f/<x>")])
    for path in ("/v1/a", "/v1/f/5"):
        for method in ("get", "head", "Get", "*", ""):
            with pytest.raises(WrongMethod):
                routes.find(method, path)


@pytest.mark.parametrize("path", ["/v1/" + "a/" * 30_000, "/v1/f/" + "x" * 60_000, "/v1/p/" + "\n" * 30_000])
def test_a_path_without_end_is_found_nowhere_and_at_once(path: str) -> None:
    routes = Routes([route("GET", "/v1/f/<x>", "/v1/<path:x>/end", "/v1/p/<path:rest>")])
    began = process_time()
    for _ in range(100):
        assert routes.find("POST", path).route.auth == "public"
        routes.error_shape_at(path)
    assert process_time() - began < 0.5


def test_a_route_that_a_reload_adds_is_served() -> None:
    there: set[str] = set()

    def exists(parameters: Mapping[str, str]) -> bool:
        return parameters["name"] in there

    ours = route("POST", "/v1/<name>/<path:what>", exists=exists)
    routes = Routes([ours])
    assert routes.find("POST", "/v1/ping/say").route.auth == "public"
    assert routes.find("GET", "/v1/ping/say").route.auth == "public"  # not 405: nothing is there
    there.add("ping")
    assert routes.find("POST", "/v1/ping/say") == (ours, {"name": "ping", "what": "say"})


def test_one_method_of_a_path_is_served_once() -> None:
    with pytest.raises(AssertionError, match="served twice"):
        Routes([route("GET", "/a"), route("GET", "/a")])

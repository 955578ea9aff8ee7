"""The paths of functions: every one is reachable under both names that clients know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from quart import Blueprint, Response

PREFIXES = ("/.netlify/functions", "/api")
View = TypeVar("View", bound=Callable[..., Awaitable[Response]])


def paths_of(name: str) -> tuple[str, ...]:
    """Where function `name` is reached."""
    return tuple(f"{prefix}/{name}" for prefix in PREFIXES)


def at(routes: Blueprint, name: str, *, methods: Sequence[str]) -> Callable[[View], View]:
    """Mount a view as function `name`, under both prefixes."""

    def mount(view: View) -> View:
        for prefix in PREFIXES:
            # One function may have a view for each method.
            endpoint = "-".join((name, *methods)) + prefix.replace("/", "-").replace(".", "")
            routes.add_url_rule(f"{prefix}/{name}", endpoint, view, methods=[*methods], provide_automatic_options=False)
        return view

    return mount

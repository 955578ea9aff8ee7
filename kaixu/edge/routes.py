"""Routes: everything that is served, in one type, and how a request finds its route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal, NamedTuple

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from kaixu.config.mistakes import did_you_mean
from kaixu.plugin.errors import MethodNotAllowed, NotFound

from .errors import ErrorShape, envelope, native_error
from .request import IncomingRequest
from .request_body import SMALL_BODY_BYTES
from .response import Reply, json_reply

Handler = Callable[[IncomingRequest], Awaitable[Reply]]

#: The credential that a request shows before its body is read (`callers.py` checks it): "public", none; "key", a
#: virtual key or a session token made from one; "key_only", a key itself; "operator"; "key_or_operator".
Auth = Literal["public", "key", "key_only", "operator", "key_or_operator"]

#: What limits how often a route is called: "call", admission, which the handler asks; "reading", a key's readings a
#: minute, counted before the handler runs; "address", the handler counts by the client's address; "operator", nothing
#: but the login; "open", nothing, as the route costs nothing.
Rate = Literal["call", "reading", "address", "operator", "open"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
NO_PARAMETERS: Mapping[str, str] = {}

#: The longest path that an error message repeats.
MOST_SHOWN = 200


def always(parameters: Mapping[str, str]) -> bool:
    """The condition of a route that is always there."""
    return True


@dataclass(frozen=True, slots=True)
class Route:
    """One method at one or several paths, and who may call it, how often, and with how long a body.

    `paths` are in werkzeug's syntax: `/v1/files/<file_id>`, `/v1/models/<path:name>`. Parameters reach the handler as
    `request.parameters`. A route of GET answers HEAD, too. `max_body_bytes`: None is the gateway's own limit, which
    holds in any case. `error_shape` turns an error into what the route's clients expect. `exists`: whether a path with
    these parameters is served now, for paths that a reload adds and removes.
    """

    method: str
    paths: tuple[str, ...]
    handler: Handler
    _: KW_ONLY
    auth: Auth
    rate: Rate
    max_body_bytes: int | None = None
    error_shape: ErrorShape = native_error
    exists: Callable[[Mapping[str, str]], bool] = always


class Match(NamedTuple):
    """A request's route, and the values of its path's parameters."""

    route: Route
    parameters: Mapping[str, str]


class WrongMethod(MethodNotAllowed):
    """The path is served, but not with this method. `allow` lists those that are."""

    def __init__(self, method: str, allow: Iterable[str]) -> None:
        super().__init__(f"{method} is not allowed for this path")
        self.allow = tuple(allow)


class Routes:
    """All routes of an application.

    A path without parameters is found in a dict: that is the way of the model calls. Others are found by werkzeug's
    `Map`. `prefix_shapes`: how errors look at a path that nothing serves, by the beginning of the path.
    """

    def __init__(self, routes: Iterable[Route], prefix_shapes: Mapping[str, ErrorShape] | None = None) -> None:
        self.all = tuple(routes)
        self._by_path: dict[str, dict[str, Route]] = {}
        rules = []
        for route in self.all:
            for path in route.paths:
                if "<" in path:
                    rules.append(Rule(path, endpoint=route, methods=[route.method]))
                    continue
                by_method = self._by_path.setdefault(path, {})
                assert route.method not in by_method, f"{route.method} {path} is served twice"
                by_method[route.method] = route
        self._by_pattern = Map(rules, strict_slashes=False, merge_slashes=False).bind("")
        self._unknown = self._unknown_route(native_error)
        self._unknown_below = {
            prefix: self._unknown_route(shape)
            for prefix, shape in sorted((prefix_shapes or {}).items(), key=lambda item: -len(item[0]))
        }

    def find(self, method: str, path: str) -> Match:
        """The route of a request; where nothing is served, one that says so. Raises `WrongMethod`."""
        by_method = self._by_path.get(path)
        if by_method is not None:
            route = by_method.get(method) or (by_method.get("GET") if method == "HEAD" else None)
            if route is None:
                raise WrongMethod(method, self._allowed(path))
            return Match(route, NO_PARAMETERS)
        match = self._match(method, path)
        if match is not None:
            return match
        if allow := self._allowed(path):
            raise WrongMethod(method, allow)
        return Match(self._unknown_at(path), NO_PARAMETERS)

    def error_shape_at(self, path: str) -> ErrorShape:
        """How errors look at a path, whatever the method."""
        by_method = self._by_path.get(path)
        if by_method is not None:
            return next(iter(by_method.values())).error_shape
        matches = (self._match(method, path) for method in METHODS)
        return next((match.route.error_shape for match in matches if match), self._unknown_at(path).error_shape)

    def _allowed(self, path: str) -> list[str]:
        """The methods with which a path is served."""
        by_method = self._by_path.get(path)
        if by_method is None:
            return [method for method in METHODS if self._match(method, path) is not None]
        return [method for method in METHODS if method in by_method or (method == "HEAD" and "GET" in by_method)]

    def _match(self, method: str, path: str) -> Match | None:
        """The route of a path with parameters."""
        try:
            route, parameters = self._by_pattern.match(path, method)
        except HTTPException:
            return None
        return Match(route, parameters) if route.exists(parameters) else None

    def _unknown_at(self, path: str) -> Route:
        """The route of a path that nothing serves."""
        below = (route for prefix, route in self._unknown_below.items() if path.startswith(prefix))
        return next(below, self._unknown)

    def _unknown_route(self, shape: ErrorShape) -> Route:
        """A route that serves nothing: it needs no credential, takes small bodies and says 404.

        It does not raise: the monitor would be full of the paths that scanners try.
        """

        async def refuse(request: IncomingRequest) -> Reply:
            error = no_such_endpoint(request, self._by_path)
            return json_reply(*shape(envelope(error, request.request_id), error.status))

        return Route("*", (), refuse, auth="public", rate="open", max_body_bytes=SMALL_BODY_BYTES, error_shape=shape)


def no_such_endpoint(request: IncomingRequest, known: Iterable[str] = ()) -> NotFound:
    """The error for a path that nothing serves, with the nearest of the `known` ones."""
    path = request.path
    if len(path) > MOST_SHOWN or not path.isprintable():
        return NotFound("No such endpoint")
    return NotFound(f"No such endpoint: {request.method} {path}{did_you_mean(path, known)}")

"""Routes: one type for everything that is served, and the lookup of a request's route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal, NamedTuple, Protocol

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from kaixu.accounts.operator_identity import Access
from kaixu.config.mistakes import did_you_mean
from kaixu.plugin.errors import MethodNotAllowed, NotFound

from .errors import ErrorShape, envelope, native_error
from .request import IncomingRequest
from .request_body import SMALL_BODY_BYTES
from .response import Reply, json_reply

Handler = Callable[[IncomingRequest], Awaitable[Reply]]

#: What answers a path without a route with a page; None: with the error.
UnknownPage = Callable[[IncomingRequest], Reply | None]

#: The credential that is checked before the body is read (`callers.py`): "public": none; "key": a virtual key, or a
#: session token; "key_only": a virtual key; "operator": an admin token, API token or password; "key_or_operator";
#: "operator_page": an operator's session in the cookie, for pages that take long bodies (others are "public", and
#: lead to the login themselves).
Auth = Literal["public", "key", "key_only", "operator", "key_or_operator", "operator_page"]

#: The rate limit of a route: "call": admission, in the handler; "reading": the key's read requests per minute, counted
#: before the handler runs; "address": the handler counts by client address; "operator": only the login is limited;
#: "open": none, because the route costs nothing.
Rate = Literal["call", "reading", "address", "operator", "open"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
NO_PARAMETERS: Mapping[str, str] = {}

#: The longest path that an error message shows.
MAX_SHOWN = 200

#: The longest path that parameters are looked for in: the time that takes grows with the path, and anybody may send it.
MAX_MATCHED = 4096


def always_exists(parameters: Mapping[str, str]) -> bool:
    """The default of `Route.exists`."""
    return True


@dataclass(frozen=True, slots=True)
class Route:
    """One method at one or several paths, with its handler, authentication, rate limit and body limit.

    `paths` use werkzeug's syntax: `/v1/files/<file_id>`, `/v1/models/<path:name>`; handlers read the parameters from
    `request.parameters`. A GET route also answers HEAD. `max_body_bytes`: a limit below the gateway's own.
    `error_shape`: the format of errors. `exists`: whether a path with these parameters is served now, for paths that a
    reload adds or removes. `any_origin`: pages of every origin may read it. `access`: what the route needs of an
    operator; every route that takes an operator's credential says it. `is_placeholder`: it only says that an
    integration is missing, which may serve the path itself. `is_upload`: the handler starts before the body is read.
    """

    method: str
    paths: tuple[str, ...]
    handler: Handler
    _: KW_ONLY
    auth: Auth
    rate: Rate
    max_body_bytes: int | None = None
    error_shape: ErrorShape = native_error
    exists: Callable[[Mapping[str, str]], bool] = always_exists
    any_origin: bool = False
    access: Access | None = None
    is_placeholder: bool = False
    is_upload: bool = False

    def __post_init__(self) -> None:
        assert (self.access is not None) == (self.auth in ("operator", "key_or_operator")), self.paths


class Match(NamedTuple):
    """A request's route and the values of its path parameters."""

    route: Route
    parameters: Mapping[str, str]


class ReloadedRoutes(Protocol):
    """Routes that a reload adds and removes: those of integrations."""

    def at(self, path: str) -> Mapping[str, Match]:
        """The routes of a path, by method; none for a path that no integration serves."""
        ...


class WrongMethod(MethodNotAllowed):
    """The path does not support this method. `allow`: those that it supports."""

    def __init__(self, method: str, allow: Iterable[str]) -> None:
        self.allow = tuple(allow)
        super().__init__(f"{method} is not allowed for this path", hint=f"Use {' or '.join(self.allow)}.")


class Routes:
    """All routes of an application.

    Paths without parameters are looked up in a dict, which is fast; others by werkzeug's `Map`. `prefix_shapes`: the
    error format of paths without a route, by prefix. `unknown_page`: the page that a browser gets for such a path, or
    None for the error as JSON. `reloaded`: further routes, which take the place of placeholders.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        prefix_shapes: Mapping[str, ErrorShape] | None = None,
        unknown_page: UnknownPage | None = None,
        reloaded: ReloadedRoutes | None = None,
    ) -> None:
        self._reloaded = reloaded
        self._unknown_page = unknown_page
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
        #: Paths that an integration may serve in our place.
        self._placeholders = frozenset(
            path
            for path, by_method in self._by_path.items()
            if all(route.is_placeholder for route in by_method.values())
        )
        self._by_pattern = Map(rules, strict_slashes=False, merge_slashes=False).bind("")
        self._unknown = self._unknown_route(native_error)
        self._unknown_below = {
            prefix: self._unknown_route(shape)
            for prefix, shape in sorted((prefix_shapes or {}).items(), key=lambda item: -len(item[0]))
        }

    def find(self, method: str, path: str) -> Match:
        """The route of a request; for an unknown path, a route that answers 404. Raises `WrongMethod`."""
        by_method = self._by_path.get(path)
        if (reloaded := self._reloaded_at(path, by_method)) is not None:
            match = reloaded.get(method) or (reloaded.get("GET") if method == "HEAD" else None)
            if match is None:
                raise WrongMethod(method, allowed_of(reloaded))
            return match
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
        """The error format of a path, for any method."""
        by_method = self._by_path.get(path)
        if (reloaded := self._reloaded_at(path, by_method)) is not None:
            return next(iter(reloaded.values())).route.error_shape
        if by_method is not None:
            return next(iter(by_method.values())).error_shape
        matches = (self._match(method, path) for method in METHODS)
        return next((match.route.error_shape for match in matches if match), self._unknown_at(path).error_shape)

    def allows_any_origin(self, path: str) -> bool:
        """Whether pages of every origin may read a path."""
        return any(route.any_origin for route in self._by_path.get(path, {}).values())

    def _allowed(self, path: str) -> list[str]:
        """The methods that a path supports."""
        by_method = self._by_path.get(path)
        if by_method is None:
            return [method for method in METHODS if self._match(method, path) is not None]
        return allowed_of(by_method)

    def _reloaded_at(self, path: str, by_method: Mapping[str, Route] | None) -> Mapping[str, Match] | None:
        """The reloaded routes of a path; None where there are none, or where the gateway serves the path itself."""
        if self._reloaded is None or len(path) > MAX_MATCHED:
            return None
        if by_method is not None and path not in self._placeholders:
            return None
        return self._reloaded.at(path) or None

    def _match(self, method: str, path: str) -> Match | None:
        """The route of a path with parameters."""
        if method not in METHODS or len(path) > MAX_MATCHED:  # werkzeug would take `get` for `GET`
            return None
        try:
            route, parameters = self._by_pattern.match(path, method)
        except HTTPException:
            return None
        return Match(route, parameters) if route.exists(parameters) else None

    def _unknown_at(self, path: str) -> Route:
        """The 404 route for an unknown path."""
        below = (route for prefix, route in self._unknown_below.items() if path.startswith(prefix))
        return next(below, self._unknown)

    def _unknown_route(self, shape: ErrorShape) -> Route:
        """A route that answers 404, without a credential and with a small body limit.

        It does not raise: the monitor would fill up with the paths that scanners try.
        """

        async def refuse(request: IncomingRequest) -> Reply:
            if self._unknown_page is not None and (page := self._unknown_page(request)) is not None:
                return page
            error = no_such_endpoint(request, self._by_path)
            return json_reply(*shape(envelope(error, request.request_id), error.status))

        return Route("*", (), refuse, auth="public", rate="open", max_body_bytes=SMALL_BODY_BYTES, error_shape=shape)


def allowed_of(by_method: Iterable[str]) -> list[str]:
    """The methods of a path in the usual order, with HEAD where there is GET."""
    have = {*by_method}
    return [method for method in METHODS if method in have or (method == "HEAD" and "GET" in have)]


def no_such_endpoint(request: IncomingRequest, known: Iterable[str] = ()) -> NotFound:
    """The error for an unknown path, with a suggestion from the `known` ones."""
    path = request.path
    if len(path) > MAX_SHOWN or not path.isprintable():
        return NotFound("No such endpoint")
    return NotFound(f"No such endpoint: {request.method} {path}{did_you_mean(path, known)}")

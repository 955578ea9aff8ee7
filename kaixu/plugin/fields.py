"""Where the fields of an operation's input come from: `Annotated[str, Query("projectId", "project_id")]`.

Without one of these a field comes from the path if the path has a parameter of its name, else from the query (GET) or
from the JSON body (all others). Without any of them, the JSON body is the input as a whole.
"""

from __future__ import annotations


class Source:
    """A place of the request. `names`: under which the value is looked for; the first that has one counts."""

    __slots__ = ("names",)

    def __init__(self, *names: str) -> None:
        self.names = names

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.names))})"


class Body(Source):
    """A field of the JSON body. `lax`: a number or true or false may also be sent as text."""

    __slots__ = ("lax",)

    def __init__(self, *names: str, lax: bool = False) -> None:
        super().__init__(*names)
        self.lax = lax


class Query(Source):
    """A field of the query. A list gets each value of a repeated field, everything else the first one."""

    __slots__ = ()


class Header(Source):
    """A header of the request; case does not matter."""

    __slots__ = ()


class Path(Source):
    """A parameter of the operation's path.

    An alias has no parameters: there it comes from the body or the query, by its own name or one of the further ones.
    """

    __slots__ = ()


class RawBody(Source):
    """The body's bytes as they are, after `content-encoding` was decoded. `most_bytes`: the limit of their number."""

    __slots__ = ("most_bytes",)

    def __init__(self, most_bytes: int | None = None) -> None:
        super().__init__()
        self.most_bytes = most_bytes


class Clamped:
    """A number that is moved into the bounds where it lies outside, instead of being refused. A number in text counts.

    `default`: the value where the field is not sent, is null or is empty.
    """

    __slots__ = ("default", "least", "most")

    def __init__(self, least: float, most: float, *, default: float) -> None:
        self.least = least
        self.most = most
        self.default = default

    def __repr__(self) -> str:
        return f"Clamped({self.least}, {self.most}, default={self.default})"

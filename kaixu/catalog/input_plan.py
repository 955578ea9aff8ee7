"""Where each field of an operation's input comes from, worked out once from the Struct and its annotations."""

from __future__ import annotations

import re
from collections.abc import Collection
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from kaixu.plugin.errors import PluginError
from kaixu.plugin.fields import Body, Clamped, Header, Path, Query, RawBody, Source
from kaixu.plugin.operation import Operation

Place = Literal["body", "query", "header", "path", "raw"]
PLACES: dict[type[Source], Place] = {
    Body: "body",
    Query: "query",
    Header: "header",
    Path: "path",
    RawBody: "raw",
}

#: A parameter in an operation's path.
PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")

#: Methods whose requests have no body.
WITHOUT_BODY = ("GET",)


class FieldPlan(msgspec.Struct, frozen=True):
    """One field: its place and the names it is looked for there, its type, and whether it must be sent.

    `is_lax`: text counts as what it says, as in a query. `is_list`: it gets all values of a repeated field.
    """

    name: str
    place: Place
    names: tuple[str, ...]
    type: Any
    is_required: bool
    is_lax: bool
    is_list: bool
    may_be_null: bool
    clamp: Clamped | None


class InputPlan(msgspec.Struct, frozen=True):
    """How the input of an operation is read. `fields` is None where the JSON body is the input as a whole.

    `forbids_unknown`: a field of the body that no field of the input takes is refused. `parameters`: of the path.
    """

    body: type[msgspec.Struct]
    fields: tuple[FieldPlan, ...] | None
    forbids_unknown: bool
    parameters: tuple[str, ...] = ()
    most_bytes: int | None = None
    is_upload: bool = False

    @property
    def has_raw_body(self) -> bool:
        """Whether the body is passed on as bytes."""
        return any(one.place == "raw" for one in self.fields or ())


def parameters_of(path: str) -> list[str]:
    """The names of the parameters of an operation's path, in order."""
    return PARAMETER.findall(path)


def input_plan(operation: Operation) -> InputPlan:
    """The plan of an operation's input. Raises `PluginError` with what is wrong with the Struct, or with the path."""
    kind = operation.body
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        raise PluginError(f"its input must be a subclass of msgspec.Struct, not {kind!r:.80}")
    try:
        declared = msgspec.structs.fields(kind)
        msgspec.json.Decoder(kind)
    except Exception as error:  # noqa: BLE001 - a type that cannot be resolved raises whatever its expression raises
        raise PluginError(f"its input {kind.__name__} cannot be read: {type(error).__name__}: {error}") from None
    config = kind.__struct_config__
    parameters = parameters_of(operation.path_below)
    has_body = operation.method not in WITHOUT_BODY and not operation.upload
    why_not = "that of an upload is a file" if operation.upload else f"{operation.method} has none"
    fields = tuple(field_plan(kind, one, why_not, parameters, has_body=has_body) for one in declared)
    taken = {one.names[0] for one in fields if one.place == "path"}
    for name in parameters:
        if name not in taken:
            raise PluginError(f"no field of {kind.__name__} takes the parameter `{name}` of its path")
    raws = [one for one in fields if one.place == "raw"]
    if raws and (len(raws) > 1 or any(one.place == "body" for one in fields)):
        raise PluginError(f"{kind.__name__} has a raw body, so no other field can come from the body")
    is_whole = has_body and not parameters and not any(map(has_source, declared))
    most_bytes = None
    for one in declared:
        for mark in marks_of(one.type):
            if isinstance(mark, RawBody):
                most_bytes = mark.most_bytes
    if most_bytes is not None and most_bytes < 1:
        raise PluginError("`most_bytes` of a raw body must be at least 1")
    return InputPlan(
        kind,
        None if is_whole else fields,
        config.forbid_unknown_fields,
        tuple(parameters),
        most_bytes,
        operation.upload,
    )


def field_plan(
    kind: type[msgspec.Struct],
    field: msgspec.structs.FieldInfo,
    why_not: str,
    parameters: Collection[str],
    *,
    has_body: bool,
) -> FieldPlan:
    """The plan of one field. `why_not`: why nothing can come from the body. Raises `PluginError`."""
    where = f"`{field.name}` of {kind.__name__}"
    sources = [mark for mark in marks_of(field.type) if isinstance(mark, Source)]
    clamps = [mark for mark in marks_of(field.type) if isinstance(mark, Clamped)]
    if len(sources) > 1 or len(clamps) > 1:
        raise PluginError(f"{where} says more than once where it comes from")
    source = sources[0] if sources else default_source(field.encode_name, parameters, has_body=has_body)
    place = PLACES[type(source)]
    if place in ("body", "raw") and not has_body:
        raise PluginError(f"{where} comes from the body, but {why_not}")
    names = source.names or (field.encode_name,)
    if any(not isinstance(name, str) or not name for name in names):
        raise PluginError(f"{where}: the names of a field are texts")
    if place == "path" and names[0] not in parameters:
        raise PluginError(f"{where} comes from the path, which has no parameter `{names[0]}`")
    arms = arms_of(field.type)
    if place == "raw" and bytes not in arms:
        raise PluginError(f"{where} is a raw body, so its type must be bytes")
    clamp = clamps[0] if clamps else None
    if clamp is not None:
        if not arms & {int, float}:
            raise PluginError(f"{where} is clamped, so its type must be int or float")
        if not clamp.least <= clamp.default <= clamp.most:
            raise PluginError(f"{where}: the default {clamp.default} lies outside of {clamp.least} to {clamp.most}")
    return FieldPlan(
        name=field.name,
        place=place,
        names=tuple(name.lower() for name in names) if place == "header" else tuple(names),
        type=field.type,
        is_required=field.required and clamp is None,
        is_lax=place != "body" or (isinstance(source, Body) and source.lax),
        is_list=any(get_origin(arm) in (list, tuple, set, frozenset) or arm in (list, tuple, set) for arm in arms),
        may_be_null=type(None) in arms or Any in arms,
        clamp=clamp,
    )


def default_source(name: str, parameters: Collection[str], *, has_body: bool) -> Source:
    """Where a field comes from that does not say it."""
    if name in parameters:
        return Path(name)
    return Body() if has_body else Query()


def has_source(field: msgspec.structs.FieldInfo) -> bool:
    """Whether a field says where it comes from, or is clamped."""
    return any(isinstance(mark, Source | Clamped) for mark in marks_of(field.type))


def marks_of(kind: Any) -> tuple[Any, ...]:
    """The annotations of a type."""
    return kind.__metadata__ if get_origin(kind) is Annotated else ()


def arms_of(kind: Any) -> set[Any]:
    """The types that a value may have, without annotations."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        return {arm for one in get_args(kind) for arm in arms_of(one)}
    return {kind}

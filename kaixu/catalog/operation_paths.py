"""The addresses of operations: paths below `/v1/<integration>`, and aliases below the functions' prefixes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kaixu.plugin.operation import Operation

from .catalog import Catalog, IntegrationState
from .input_plan import InputPlan, input_plan

#: One segment of an operation's path: a word, or a parameter.
SEGMENT = re.compile(r"[a-z0-9_.-]+|\{[a-z_][a-z0-9_]*\}")
ALIAS = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MOST_PATH = 200

#: Longer values of a path's parameters name nothing.
MOST_PARAMETER = 1000


class ServedOperation(NamedTuple):
    """An operation, its integration, and how its input is read."""

    state: IntegrationState
    operation: Operation
    plan: InputPlan


class FoundOperation(NamedTuple):
    """An operation at an address, and the values of the parameters in the path."""

    served: ServedOperation
    parameters: Mapping[str, str]


class OperationPaths:
    """The addresses of the operations of one catalog.

    Operations of integrations that are off are found, too, so that their addresses say so; not those of integrations
    that failed, whose declarations may be what is wrong.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.integrations = catalog.integrations
        self.by_alias: dict[str, dict[str, ServedOperation]] = {}
        self.by_integration: dict[str, list[tuple[tuple[str, ...], ServedOperation]]] = {}
        for state in catalog.integrations.values():
            if state.integration is None or state.state == "failed":
                continue
            served = [ServedOperation(state, one, input_plan(one)) for one in state.integration.operations]
            for one in served:
                for alias in one.operation.aliases:
                    self.by_alias.setdefault(alias, {}).setdefault(one.operation.method, one)
            # Words come before parameters, from left to right: the most exact path counts.
            paths = [(segments_of(one.operation.path_below), one) for one in served]
            self.by_integration[state.name] = sorted(paths, key=lambda path: shape_of(path[0]))

    def at_alias(self, alias: str) -> Mapping[str, FoundOperation]:
        """The operations of an alias, by method."""
        return {method: FoundOperation(one, {}) for method, one in self.by_alias.get(alias, {}).items()}

    def at_path(self, integration: str, path: str) -> Mapping[str, FoundOperation]:
        """The operations at a path below that of an integration, by method."""
        found: dict[str, FoundOperation] = {}
        segments = segments_of(path)
        for template, served in self.by_integration.get(integration, ()):
            method = served.operation.method
            if method not in found and (values := match(template, segments)) is not None:
                found[method] = FoundOperation(served, values)
        return found


def segments_of(path: str) -> tuple[str, ...]:
    """The segments of a path."""
    return tuple(path.strip("/").split("/"))


def shape_of(segments: Iterable[str]) -> tuple[tuple[bool, str], ...]:
    """A path without the names of its parameters. Two of the same shape and method cannot be told apart."""
    return tuple((one.startswith("{"), "" if one.startswith("{") else one) for one in segments)


def match(template: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    """The values of a template's parameters in a path; None if the path does not fit."""
    if len(template) != len(segments):
        return None
    values = {}
    for expected, segment in zip(template, segments, strict=True):
        if expected.startswith("{"):
            if not 0 < len(segment) <= MOST_PARAMETER:
                return None
            values[expected[1:-1]] = segment
        elif expected != segment:
            return None
    return values

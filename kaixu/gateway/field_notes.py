"""Find names in `allow` and `known_fields` of kaixu.yaml that have no effect; most are misspelled."""

from __future__ import annotations

from collections.abc import Iterator

from kaixu.api.hosted_tools import HOSTED_TYPES
from kaixu.catalog.catalog import Catalog
from kaixu.config.mistakes import did_you_mean
from kaixu.plugin.protocols import family_of
from kaixu.plugin.protocols.anthropic_messages import DEARER as ANTHROPIC_DEARER
from kaixu.plugin.protocols.openai_chat import DEARER as OPENAI_DEARER
from kaixu.plugin.protocols.openai_chat import UNBOUNDED

#: Fields that are refused unless `allow` names them.
FIELDS = frozenset({*OPENAI_DEARER, *ANTHROPIC_DEARER, "context_management"})
#: All names that `allow` accepts: also content of Anthropic's requests, and tools that vendors run.
ALLOWABLE = FIELDS | HOSTED_TYPES | {"cache_control", "document", "file", "container_upload"}


def field_notes(catalog: Catalog) -> list[str]:
    """A note for each name without effect."""
    return [*allow_notes(catalog), *known_field_notes(catalog)]


def allow_notes(catalog: Catalog) -> Iterator[str]:
    """Names in the models' `allow`."""
    for lane, state in catalog.lanes.items():
        for model, section in state.section.models.items():
            for name in section.allow:
                entry = f"`{name}` in `allow` of model `{model}` of lane `{lane}`"
                if name in UNBOUNDED:
                    yield f"{entry} has no effect: it is always refused, because `max_tokens` does not bound it"
                elif name not in ALLOWABLE and family_of(name) not in ALLOWABLE:
                    known = did_you_mean(name, ALLOWABLE)
                    yield f"{entry} is neither a field that can cost more nor a known tool of a vendor{known}"


def known_field_notes(catalog: Catalog) -> Iterator[str]:
    """Names in the lanes' `known_fields`."""
    for lane, state in catalog.lanes.items():
        for name in state.section.known_fields:
            entry = f"`{name}` in `known_fields` of lane `{lane}` has no effect"
            if name in UNBOUNDED:
                yield f"{entry}: it is always refused, because `max_tokens` does not bound it"
            elif name in FIELDS:
                yield f"{entry}: it can cost more, so put it into `allow` of a model"

"""Tools that the vendor runs: dropped and reported for lanes that do not support them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kaixu.plugin.errors import Unsupported
from kaixu.plugin.protocols import family_of

from .dropped_fields import DroppedFields

#: Types of such tools in OpenAI's and Anthropic's APIs, without versions.
HOSTED_TYPES = frozenset(
    {
        "advisor",
        "apply_patch",
        "bash_code_execution",
        "code_execution",
        "code_interpreter",
        "computer",
        "computer_use",
        "file_search",
        "google_search",
        "image_generation",
        "local_shell",
        "mcp",
        "mcp_toolset",
        "programmatic_tool_calling",
        "shell",
        "text_editor_code_execution",
        "tool_search",
        "tool_search_tool_bm25",
        "tool_search_tool_regex",
        "url_context",
        "web_fetch",
        "web_search",
    }
)


class HostedTools:
    """The tools of one request that are not sent to the vendor."""

    def __init__(self, dropped_fields: DroppedFields) -> None:
        self.dropped_fields = dropped_fields
        self.families: list[str] = []
        self.names: set[str] = set()

    def leave_out(self, place: str, kind: str, name: str | None = None) -> None:
        """Drop one tool, at `place` in the request. Raises `Unsupported` if it is unknown and the lane refuses that."""
        family = family_of(kind)
        self.families.append(family)
        self.names |= {family, kind} | ({name} if name else set())
        if family in HOSTED_TYPES:
            self.dropped_fields.drop(f"tools[].{family}")
        elif self.dropped_fields.refuses:
            why = f"tools of type {kind[:60]} are unknown"
            raise Unsupported(f"{place}.type", why, hint="Remove this tool, or choose another model.")
        else:
            self.dropped_fields.drop(f"tools[].{kind[:60]}")

    def refuse_choice(self, choice: Any, others: Iterable[object]) -> None:
        """Raises `Unsupported` if the tool choice names a dropped tool, or requires a call and no tool is left.

        `others`: the tools that are sent to the vendor.
        """
        named: str | None = None
        if isinstance(choice, dict):
            words = [choice.get("type"), choice.get("name")]
            named = next((word for word in words if isinstance(word, str) and self.is_named(word)), None)
        requires_call = choice in ("required", "any") or (isinstance(choice, dict) and choice.get("type") == "any")
        if named is None and requires_call and self.families and not any(True for _ in others):
            named = self.families[0]
        if named is not None:
            why = f"the vendor of this model has no tool {named[:60]}"
            raise Unsupported("tool_choice", why, hint="Choose another tool, or another model.")

    def is_named(self, word: str) -> bool:
        """Whether a name or type in a tool choice refers to a dropped tool."""
        return word in self.names or family_of(word) in self.families

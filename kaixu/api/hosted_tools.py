"""Tools that a vendor would run itself. A lane that has none of them leaves them out, and says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kaixu.plugin.errors import Unsupported
from kaixu.plugin.protocols import family_of

from .dropped_fields import DroppedFields

#: Their types in OpenAI's and Anthropic's APIs, without versions.
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
    """The vendors' tools of one request that are not sent on."""

    def __init__(self, beyond: DroppedFields) -> None:
        self.beyond = beyond
        self.families: list[str] = []
        self.names: set[str] = set()

    def leave_out(self, place: str, kind: str, name: str | None = None) -> None:
        """Note one tool, at `place` in the request. Raises `Unsupported` if it is unknown and the lane refuses that."""
        family = family_of(kind)
        self.families.append(family)
        self.names |= {family, kind} | ({name} if name else set())
        if family in HOSTED_TYPES:
            self.beyond.drop(f"tools[].{family}")
        elif self.beyond.refuses:
            why = f"tools of type {kind[:60]} are not known here"
            raise Unsupported(f"{place}.type", why, hint="Leave this tool out, or choose another model.")
        else:
            self.beyond.drop(f"tools[].{kind[:60]}")

    def refuse_choice(self, choice: Any, others: Iterable[object]) -> None:
        """Raises `Unsupported` if the tool choice names one of them, or requires a call and there are no other tools.

        `others`: the tools that are sent on.
        """
        named: str | None = None
        if isinstance(choice, dict):
            words = [choice.get("type"), choice.get("name")]
            named = next((word for word in words if isinstance(word, str) and self.is_named(word)), None)
        insists = choice in ("required", "any") or (isinstance(choice, dict) and choice.get("type") == "any")
        if named is None and insists and self.families and not any(True for _ in others):
            named = self.families[0]
        if named is not None:
            why = f"the vendor of this model has no tool {named[:60]}"
            raise Unsupported("tool_choice", why, hint="Choose another tool, or another model.")

    def is_named(self, word: str) -> bool:
        """Whether a name or type in a tool choice means one of them."""
        return word in self.names or family_of(word) in self.families

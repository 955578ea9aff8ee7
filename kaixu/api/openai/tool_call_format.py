"""Write tool calls in the format that the client uses: functions, custom tools, or `function_call`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.api.openai.custom_tools import decode_input
from kaixu.plugin.types import ToolCallDelta


class ToolCallFormat:
    """Writes the tool calls of one answer. `body`: the parsed request.

    The text of a custom tool is sent when it is complete, because it is decoded from JSON. The older format
    (`function_call`) has one call per answer.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.custom = custom_tool_names(body.get("tools"))
        self.older = bool(body.get("functions")) and not body.get("tools")
        self.waiting: dict[int, dict[str, Any]] = {}

    def delta(self, event: ToolCallDelta, call: dict[str, Any]) -> dict[str, Any] | None:
        """The delta for a piece of a call; `call`: the piece as a function call. None: nothing is sent yet."""
        if self.older:
            return {"function_call": call["function"]} if event.index == 0 else None
        if event.index in self.waiting:
            self.waiting[event.index]["custom"]["input"] += event.arguments
            return None
        if event.name in self.custom:
            same = {name: value for name, value in call.items() if name not in ("function", "type")}
            custom = {"name": event.name, "input": event.arguments}
            self.waiting[event.index] = same | {"type": "custom", "custom": custom}
            return None
        return {"tool_calls": [call]}

    def rest(self) -> dict[str, Any] | None:
        """The delayed calls, which are sent at the end."""
        calls = [finished_custom_call(call) for call in self.waiting.values()]
        self.waiting.clear()
        return {"tool_calls": calls} if calls else None

    def reason(self, reason: str | None) -> str | None:
        """The finish reason in the format that the client uses."""
        return "function_call" if self.older and reason == "tool_calls" else reason


def custom_tool_names(tools: Any) -> frozenset[str]:
    """The names of the custom tools in a request."""
    entries = tools if isinstance(tools, list) else []
    custom = [entry for entry in entries if isinstance(entry, dict) and entry.get("type") == "custom"]
    inner = [entry["custom"] if isinstance(entry.get("custom"), dict) else entry for entry in custom]
    return frozenset(str(entry.get("name")) for entry in inner)


def finished_custom_call(call: dict[str, Any]) -> dict[str, Any]:
    """A complete call of a custom tool, with its text decoded."""
    custom = call["custom"]
    return call | {"custom": custom | {"input": decode_input(custom["input"])}}

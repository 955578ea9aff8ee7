"""A new key as it is shown once, and what to send to the client with it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from kaixu.web.addresses import gateway_url
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Part, Prose, Snippet
from kaixu.web.visits import Visit


async def handover(
    visit: Visit, key: Mapping[str, Any], *, needs_install: bool = False, title: str = "The key"
) -> list[Part]:
    """The key and the message. `needs_install`: the key's calls must name their device."""
    parts: list[Part] = [Card(title, [Snippet(key["key"], title="Key", secret=True)])]
    about = Prose(
        paragraphs=[
            "Send the key on a channel you trust, apart from this message, or all of it in one that is private."
        ]
    )
    needs_install = needs_install or (visit.customer or {}).get("require_install_id", False)
    message = client_message(visit, key, await chat_model(visit, key), needs_install=needs_install)
    return [*parts, Card("To send to the client", [about, Snippet(message, title="Message", language="text")])]


async def chat_model(visit: Visit, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A chat model that the key may use; None: there is none, or the key cannot be used now."""
    try:
        models = (await visit.api.get("admin-models", key_id=key["id"]))["models"]
    except ApiFailure as failure:
        if failure.status not in (403, 409):
            raise
        return None
    found: Mapping[str, Any] | None = next((one["kaixu"] for one in models if one["kaixu"]["type"] == "chat"), None)
    return found


def client_message(
    visit: Visit, key: Mapping[str, Any], model: Mapping[str, Any] | None, *, needs_install: bool
) -> str:
    """The addresses, how the key is sent, and a command to try it with, if the key may use a chat model."""
    lines = [
        f"Your key: {key['key']}",
        f"Send it as: Authorization: Bearer {key['key']}",
        f"Base URL for OpenAI's and compatible clients: {gateway_url(visit)}/v1",
    ]
    if needs_install:
        lines.append("Every call names its device in the header x-kaixu-install-id.")
    if model is not None:
        messages = [{"role": "user", "content": "Hello!"}]
        body = {"provider": model["provider"], "model": model["model"], "messages": messages}
        lines += [
            "",
            "Try it:",
            f"curl {shlex.quote(gateway_url(visit) + '/api/gateway-chat')} \\",
            f'  -H "authorization: Bearer {key["key"]}" \\',
            *(['  -H "x-kaixu-install-id: my-device" \\'] if needs_install else []),
            f"  -d {shlex.quote(json.dumps(body))}",
        ]
    return "\n".join(lines)

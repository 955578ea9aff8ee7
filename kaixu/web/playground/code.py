"""The call of the playground as a command and as a program, to take away."""

from __future__ import annotations

import json
import pprint
import shlex
from collections.abc import Mapping
from typing import Any

from kaixu.web.components import Card, Snippet


def curl_code(base: str, body: Mapping[str, Any], *, stream: bool = False) -> str:
    """The call as a command; the key is for the reader to fill in."""
    text = json.dumps(body, ensure_ascii=False)
    function = "gateway-stream" if stream else "gateway-chat"
    return (
        f"curl -s{'N' if stream else ''} {shlex.quote(f'{base}/api/{function}')} \\\n"
        '  -H "authorization: Bearer $KAIXU_KEY" \\\n'
        f"  -d {shlex.quote(text)}"
    )


def python_code(base: str, body: Mapping[str, Any]) -> str:
    """The call as a program."""
    return (
        "import os\n\nimport httpx\n\n"
        f"body = {pprint.pformat(dict(body), width=100, sort_dicts=False)}\n"
        "reply = httpx.post(\n"
        f'    "{base}/api/gateway-chat",\n'
        '    headers={"authorization": f"Bearer {os.environ[\'KAIXU_KEY\']}"},\n'
        "    json=body,\n    timeout=600,\n)\n"
        "answer = reply.json()\nif reply.status_code >= 400:\n"
        "    raise SystemExit(f\"{answer['code']}: {answer['error']}\")\n"
        'print(answer["output_text"])\nprint(answer["usage"]["cost_usd"], "USD")\n'
    )


def code_card(base: str, body: Mapping[str, Any]) -> Card:
    """Both."""
    return Card(
        "This call as code",
        [
            Snippet(curl_code(base, body), title="curl", language="sh"),
            Snippet(curl_code(base, body, stream=True), title="curl, streamed", language="sh"),
            Snippet(python_code(base, body), title="Python", language="httpx"),
        ],
        subtitle="Put the key into KAIXU_KEY; a page never shows it again.",
    )

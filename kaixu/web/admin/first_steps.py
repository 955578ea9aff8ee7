"""The first three steps in an empty installation: a lane, a customer, a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.web.addresses import gateway_url
from kaixu.web.components import Badge, Card, Column, Link, Part, Row, Snippet, Table
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit


def is_empty(figures: Mapping[str, Any]) -> bool:
    """Whether there was no call lately."""
    months = (figures["month"], figures["month"]["compared"])
    return not any(one["calls"] for one in (*months, *figures["days"]))


async def first_steps(visit: Visit) -> list[Part]:
    """What to do, and what is done."""
    lanes = [name for name, lane in visit.services.catalog.lanes.items() if lane.state == "on"]
    customers = (await visit.api.get("admin-customers", limit=1))["customers"]
    steps = [
        (
            "Switch a lane on",
            bool(lanes),
            f"{', '.join(sorted(lanes))} {'is' if len(lanes) == 1 else 'are'} on." if lanes
            else "A lane is the way to a vendor's models, with your prices: write one in kaixu.yaml.",
            Link("Lanes & plugins", TABS["lanes"].path),
        ),
        (
            "Create a customer and its master key",
            bool(customers),
            "There is one. A key is shown only when it is made: if nobody has its key, make another under Keys."
            if customers else "The key is shown once: copy it.",
            Link("Keys", TABS["keys"].path) if customers else Link("Create", TABS["create"].path),
        ),
        (
            "Make the first call",
            False,
            "Run the command below with that key in KAIXU_KEY. The call is then under Usage, with its price.",
            Link("Integration", TABS["integration"].path),
        ),
    ]  # fmt: skip
    table = Table(
        id="first-steps",
        caption="First steps",
        columns=[Column(title="Step"), Column(title="State"), Column(title="What", wide=True), Column(title="Where")],
        rows=[
            Row(cells=[f"{at}. {title}", Badge("good", "done") if is_done else Badge("info", "to do"), text, link])
            for at, (title, is_done, text, link) in enumerate(steps, 1)
        ],
    )
    models = (await visit.api.get("admin-models"))["models"]
    snippet = Snippet(first_call(visit, models), title="The first call", language="shell")
    return [Card("Three steps to the first call", [table, snippet])]


def first_call(visit: Visit, models: Sequence[Mapping[str, Any]]) -> str:
    """A chat with a model that can be called."""
    chat = next((one["kaixu"] for one in models if one["kaixu"]["type"] == "chat"), None)
    provider, model = ("PROVIDER", "MODEL") if chat is None else (chat["provider"], chat["model"])
    url = gateway_url(visit) + "/api/gateway-chat"
    return (
        "export KAIXU_KEY=kx_live_…\n"
        f'curl -s {url} -H "authorization: Bearer $KAIXU_KEY" \\\n'
        f'  -d \'{{"provider": "{provider}", "model": "{model}", '
        '"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64}\''
    )

"""What the Monitor says after events were pruned: the figures are those of the audit log."""

from __future__ import annotations

from kaixu.web.components import Link, Notice
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit


async def pruned_notice(visit: Visit) -> list[Notice]:
    """How many events the last pruning removed, once the page was reached by it."""
    if visit.query.get("done") != "pruned":
        return []
    found = await visit.api.get("admin-audit", action="MONITOR_PRUNE", limit=1)
    if not found["entries"]:
        return []
    meta = found["entries"][0]["meta"]
    text = f"{meta['removed']:,} events that were older than {meta['days']} days are removed."
    way = Link("Timeline", visit.url(TABS["timeline"].path, action="MONITOR_PRUNE"))
    return [Notice(state="good", text=text, actions=[way])]

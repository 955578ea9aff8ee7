"""Every list, chart and report that is measured: one place. What is in the routes and not here is named in the result.

`{customer}`, `{key}`, `{event}`, `{month}` are those of the customer whose turn it is.
"""

from __future__ import annotations

#: With an operator's token.
OPERATOR = (
    "admin-overview",
    "admin-search?q=ada",
    "admin-search?q=no+such+text",
    "admin-customers",
    "admin-keys?customer_id={customer}",
    "admin-usage?customer_id={customer}",
    "admin-usage?customer_id={customer}&month={month}",
    "admin-embed-usage?customer_id={customer}",
    "admin-devices?customer_id={customer}",
    "admin-usage-chart?from=now-24h",
    "admin-usage-chart?from=now-7d&interval=quarter",
    "admin-usage-chart?from=now-365d",
    "admin-usage-chart?customer_id={customer}&from=now-24h",
    "admin-usage-chart?customer_id={customer}&from=now-7d&interval=quarter",
    "admin-usage-chart?customer_id={customer}&from=now-365d",
    "admin-usage-margin?by=customer&month={month}",
    "admin-usage-margin?by=customer&from=now-7d",
    "admin-usage-margin?by=key&from=now-7d",
    "admin-usage-margin?by=model&from=now-365d",
    "admin-usage-margin?by=lane&from=now-365d",
    "admin-usage-margin?by=deployment&from=now-365d",
    "admin-usage-top?by=customer&month={month}",
    "admin-usage-top?by=customer&from=now-7d",
    "admin-usage-top?by=key&from=now-7d",
    "admin-usage-top?by=model&from=now-30d",
    "admin-invoices?customer_id={customer}&month={month}",
    "admin-monitor-events",
    "admin-monitor-events?kind=error&function=gateway-chat",
    "admin-platform-events",
    "admin-platform-control",
    "admin-platform-ops",
    "admin-skyefuel-station",
    "admin-skyefuel-station?month={month}",
    "admin-export?customer_id={customer}&type=events&limit=200",
    "admin-export?customer_id={customer}&type=summary",
    "admin-export?customer_id={customer}&type=invoice",
)

#: With the session of a key.
USER = (
    "user-summary",
    "user-events?limit=500",
    "user-devices",
    "user-invoices",
    "user-push-charges",
    "user-usage-chart?from=now-24h",
    "user-usage-chart?from=now-365d",
    "user-export?type=events&limit=200",
    "user-export?type=summary",
    "user-export?type=invoice",
)

#: Functions that are no list, chart or report: they change something, stream for ever, or read no table.
NOT_MEASURED = frozenset({"admin-session-check", "admin-monitor-stream"})

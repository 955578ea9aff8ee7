"""Every list, chart and report that is measured: one place. What is in the routes and not here is named in the result.

`{customer}`, `{key}`, `{event}`, `{month}` are those of the customer whose turn it is.
"""

from __future__ import annotations

#: With an operator's token.
OPERATOR = (
    "admin-customers",
    "admin-keys?customer_id={customer}",
    "admin-usage?customer_id={customer}",
    "admin-usage?customer_id={customer}&month={month}",
    "admin-embed-usage?customer_id={customer}",
    "admin-devices?customer_id={customer}",
    "admin-export?customer_id={customer}&type=events&limit=200",
    "admin-export?customer_id={customer}&type=summary",
    "admin-export?customer_id={customer}&type=invoice",
)

#: With the session of a key.
USER = (
    "user-export?type=events&limit=200",
    "user-export?type=summary",
    "user-export?type=invoice",
)

#: Functions that are no list, chart or report: they change something, stream for ever, or read no table.
NOT_MEASURED = frozenset({"admin-session-check", "admin-monitor-stream"})

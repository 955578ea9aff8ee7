"""The tabs of the admin page and of the user dashboard: their order, names, icons and addresses."""

from __future__ import annotations

import msgspec

from kaixu.accounts.operator_identity import KEYS, READ, Access


class Tab(msgspec.Struct, frozen=True):
    """One tab. `keeps_customer`: its link carries the selected customer. `access`: what it needs of operators."""

    name: str
    title: str
    path: str
    icon: str
    group: str = ""
    keeps_customer: bool = False
    access: Access = READ


ADMIN = "/gateway"
DASHBOARD = "/gateway/dashboard.html"
SIGN_IN = "/gateway/dashboard/sign-in"

ADMIN_TABS = (
    Tab("overview", "Overview", ADMIN, "layout-grid"),
    Tab("monitor", "Monitor", "/gateway/monitor", "activity"),
    Tab("customers", "Customers", "/gateway/customers", "users", "Customers"),
    Tab("create", "Create", "/gateway/create", "plus", "Customers"),
    Tab("keys", "Keys", "/gateway/keys", "key-round", "Customers", keeps_customer=True),
    Tab("usage", "Usage", "/gateway/usage", "chart-line", "Customers", keeps_customer=True),
    Tab("devices", "Devices", "/gateway/devices", "smartphone", "Customers", keeps_customer=True),
    Tab("billing", "Billing & Controls", "/gateway/billing", "credit-card", "Money", keeps_customer=True),
    Tab("exports", "Exports & Invoices", "/gateway/exports", "download", "Money", keeps_customer=True),
    Tab("lanes", "Lanes & plugins", "/gateway/lanes", "plug", "Models"),
    Tab("embeddings", "Embeddings", "/gateway/embeddings", "layers", "Models", keeps_customer=True),
    Tab("playground", "Playground", "/gateway/playground", "play", "Models", keeps_customer=True, access=KEYS),
    Tab("timeline", "Timeline", "/gateway/timeline", "clock", "Gateway"),
    Tab("platforms", "Platform control", "/gateway/platforms", "network", "Gateway"),
    Tab("station", "SkyeFuelStation", "/gateway/station", "fuel", "Gateway"),
    Tab("operators", "Operators & audit", "/gateway/operators", "shield", "Gateway"),
    Tab("integration", "Integration", "/gateway/integration", "code", "Help", keeps_customer=True),
    Tab("tutorial", "Tutorial", "/gateway/tutorial", "book-open", "Help"),
)

DASHBOARD_TABS = (
    Tab("budget", "Budget", DASHBOARD, "layout-grid"),
    Tab("calls", "Calls", "/gateway/dashboard/calls", "activity"),
    Tab("own-devices", "Devices", "/gateway/dashboard/devices", "smartphone"),
    Tab("own-invoices", "Exports & invoices", "/gateway/dashboard/invoices", "receipt"),
    Tab("own-models", "Models", "/gateway/dashboard/models", "layers"),
    Tab("own-playground", "Playground", "/gateway/dashboard/playground", "play"),
    Tab("own-integration", "Integration", "/gateway/dashboard/integration", "code"),
    Tab("status", "Status", "/gateway/dashboard/status", "network"),
)

#: Shown where an integration leaves something to customers.
OWN_SETTINGS = Tab(
    "own-settings", "Settings of integrations", "/gateway/dashboard/integrations", "settings", "Integrations"
)

PUBLIC_TABS = (
    Tab("request-key", "Get a key", "/request-key", "key-round"),
    Tab("models", "Models", "/models", "layers"),
    Tab("docs", "Docs", "/docs", "book-open"),
    Tab("public-station", "SkyeFuelStation", "/skyefuelstation/", "fuel"),
    Tab("public-status", "Status", "/gateway/status", "activity"),
    Tab("sign-in", "Dashboard", DASHBOARD, "chart-line"),
)

TABS = {tab.name: tab for tab in (*ADMIN_TABS, *DASHBOARD_TABS, *PUBLIC_TABS)}

"""The addresses that the gateway serves itself, which no integration can have. A test compares them with the routes."""

from __future__ import annotations

#: Paths below /v1 that are not integrations.
CORE_PATHS = frozenset({"chat", "messages", "responses", "embeddings", "completions", "models", "files", "batches"})

#: Functions below `/.netlify/functions/` and `/api/`, without those that only say that an integration is missing.
CORE_FUNCTIONS = frozenset(
    {
        "admin-alert-webhook", "admin-alerts", "admin-audit", "admin-billing", "admin-codes", "admin-customers",
        "admin-devices", "admin-embed-usage", "admin-end-users", "admin-explain", "admin-export",
        "admin-integration-secrets", "admin-integration-settings",
        "admin-invitation", "admin-invoice-credit", "admin-invoice-finalize", "admin-invoice-list",
        "admin-invoice-mail", "admin-invoice-pdf", "admin-invoice-verify", "admin-invoice-void",
        "admin-invoices", "admin-key-groups", "admin-key-requests", "admin-key-session", "admin-keys",
        "admin-lane-snippet", "admin-lane-test", "admin-lanes", "admin-login", "admin-logout", "admin-models",
        "admin-monitor-events", "admin-monitor-prune", "admin-monitor-stream", "admin-month-close",
        "admin-oidc-return", "admin-oidc-start", "admin-operators", "admin-overview", "admin-password",
        "admin-plans", "admin-platform-control", "admin-platform-events", "admin-platform-ops",
        "admin-platform-state", "admin-search", "admin-session-check", "admin-sessions",
        "admin-skyefuel-station", "admin-tokens", "admin-topup", "admin-totp", "admin-trace", "admin-usage",
        "admin-usage-chart", "admin-usage-margin", "admin-usage-top", "client-error-report", "gateway-chat",
        "gateway-embed", "gateway-embed-collections", "gateway-embed-search", "gateway-heartbeat-read",
        "gateway-job-cancel", "gateway-job-result", "gateway-job-run-background", "gateway-job-status",
        "gateway-job-submit", "gateway-stream", "health", "monitor-archive-access", "monitor-archive-prune",
        "public-models", "push-whoami", "request-key", "session-token", "skye-fuel-station-config",
        "skye-fuel-station-overview", "user-devices", "user-events", "user-explain", "user-export",
        "user-integration-secrets",
        "user-integration-settings", "user-integrations", "user-invoice-list", "user-invoice-pdf", "user-invoices",
        "user-push-charges", "user-redeem",
        "user-summary", "user-usage-chart",
    }
)  # fmt: skip

"""The fields of every endpoint for operators, for customers' own data and for everybody, with their types.

A shape is a type, a tuple of types of which one fits, a dict of the fields that a reply must have (it may have more), or
a list with the shape of its entries, which must not be empty unless it is `Maybe`. `TIME` is ISO 8601 in UTC with
milliseconds; `MONTH` is YYYY-MM.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MONTH = re.compile(r"20\d\d-\d\d")
NUMBER = (int, float)
TEXT_OR_NULL = (str, None)
INT_OR_NULL = (int, None)
TIME_OR_NULL = (TIME, None)
LIST_OR_NULL = (list, None)
DICT_OR_NULL = (dict, None)


class Maybe(list[Any]):
    """A list that may be empty."""


@dataclass(frozen=True)
class Case:
    """One request and the shape of its reply. Words in braces are replaced by those of the test's customer."""

    method: str
    path: str
    who: str  # "public", "operator", "key" (also tried with a session), "key_only"
    shape: Any
    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Method and function."""
        return f"{self.method} {self.path.partition('?')[0]}"


ERROR = {"error": str, "code": str, "request_id": str}
OK = {"ok": bool}
NOT_CONFIGURED = {**ERROR, "hint": str}

CUSTOMER_BRIEF = {"id": int, "email": str, "plan_name": str, "monthly_cap_cents": int}
CUSTOMER_POLICY = {
    **CUSTOMER_BRIEF, "is_active": bool, "max_devices_per_key": INT_OR_NULL, "require_install_id": bool,
    "allowed_providers": LIST_OR_NULL, "allowed_models": DICT_OR_NULL, "auto_topup_enabled": bool,
    "auto_topup_threshold_cents": INT_OR_NULL, "auto_topup_amount_cents": INT_OR_NULL,
}  # fmt: skip
CUSTOMER = {
    **CUSTOMER_POLICY, "stripe_customer_id": TEXT_OR_NULL, "stripe_subscription_id": TEXT_OR_NULL,
    "stripe_current_period_end": TIME_OR_NULL, "created_at": TIME, "active_keys": int, "has_netlify_token": bool,
}  # fmt: skip
KEY_POLICY = {
    "id": int, "key_last4": str, "label": str, "role": str, "monthly_cap_cents": INT_OR_NULL,
    "rpm_limit": INT_OR_NULL, "rpd_limit": INT_OR_NULL, "max_devices": INT_OR_NULL,
    "require_install_id": (bool, None), "allowed_providers": LIST_OR_NULL, "allowed_models": DICT_OR_NULL,
    "created_at": TIME, "revoked_at": TIME_OR_NULL,
}  # fmt: skip
NEW_KEY = {"id": int, "key_last4": str, "label": str, "created_at": TIME, "key": re.compile(r"kx_live_[\w-]{48}")}
DEVICE = {
    "api_key_id": int, "install_id": str, "device_label": TEXT_OR_NULL, "first_seen_at": TIME, "last_seen_at": TIME,
    "revoked_at": TIME_OR_NULL, "revoked_by": TEXT_OR_NULL, "last_seen_ua": TEXT_OR_NULL,
}  # fmt: skip
EVENT = {
    "id": int, "provider": str, "model": str, "input_tokens": int, "output_tokens": int, "cost_cents": int,
    "created_at": TIME,
}  # fmt: skip
SNAPSHOT = {
    "generated_at": TIME,
    "month": MONTH,
    "customer": {**CUSTOMER_BRIEF, "stripe_customer_id": TEXT_OR_NULL},
    "totals": {
        "cap_cents": int, "extra_cents": int, "spent_cents": int, "input_tokens": int, "output_tokens": int,
        "total_tokens": int, "push_total_cents": int, "grand_total_cents": int,
    },
    "keys": [
        {
            "api_key_id": int, "key_last4": str, "label": str, "spent_cents": int, "input_tokens": int,
            "output_tokens": int, "calls": int,
        }
    ],
    "topups": [
        {"amount_cents": int, "source": str, "stripe_session_id": TEXT_OR_NULL, "status": str, "created_at": TIME}
    ],
    "auto_topup": {"enabled": bool, "threshold_cents": INT_OR_NULL, "amount_cents": INT_OR_NULL},
    "push": DICT_OR_NULL,
}  # fmt: skip
INVOICE = {"exists": bool, "month": MONTH, "snapshot": SNAPSHOT}
MONITOR_EVENT = {
    "id": int, "created_at": TIME, "request_id": TEXT_OR_NULL, "level": str, "kind": str,
    "function_name": TEXT_OR_NULL, "method": TEXT_OR_NULL, "path": TEXT_OR_NULL, "origin": TEXT_OR_NULL,
    "referer": TEXT_OR_NULL, "user_agent": TEXT_OR_NULL, "ip": None, "app_id": TEXT_OR_NULL,
    "build_id": TEXT_OR_NULL, "customer_id": INT_OR_NULL, "api_key_id": INT_OR_NULL, "provider": TEXT_OR_NULL,
    "model": TEXT_OR_NULL, "http_status": INT_OR_NULL, "duration_ms": INT_OR_NULL, "error_code": TEXT_OR_NULL,
    "error_message": TEXT_OR_NULL, "error_stack": TEXT_OR_NULL, "upstream_status": INT_OR_NULL,
    "upstream_body": TEXT_OR_NULL, "extra": dict,
}  # fmt: skip

OPS = {
    "app_id": str, "health_status": str, "onboarding_stage": str, "lifecycle_status": str, "owner": str,
    "notes": str, "flags": dict, "updated_by": TEXT_OR_NULL, "last_checked_at": TIME_OR_NULL,
    "created_at": TIME_OR_NULL, "updated_at": TIME_OR_NULL,
}  # fmt: skip
APP = {
    "app_id": str, "title": str, "launch_url": str, "gateway_tab": TEXT_OR_NULL, "description": str,
    "storage_mode": str, "visibility": str,
}  # fmt: skip
PLATFORM = {
    **APP, "summary": dict, "summary_text": str, "has_remote_state": bool, "updated_by": TEXT_OR_NULL,
    "created_at": TIME_OR_NULL, "updated_at": TIME_OR_NULL, "storage_status": str, "platform_ops": OPS,
}  # fmt: skip
STATION = {
    "name": str,
    "tagline": str,
    "public_path": re.compile("/skyefuelstation/"),
    "public_url": str,
    "admin_url": str,
    "dashboard_url": str,
    "brain_gate": {"configured": bool, "admin_url": TEXT_OR_NULL, "public_url": TEXT_OR_NULL},
    "pricing": {
        "service_asset_name": str, "fuel_asset_name": str, "coin_asset_name": str, "access_asset_name": str,
        "bonus_return_pct": NUMBER, "discount_pct": NUMBER,
        "rates": {
            "fuel_unit_usd": NUMBER, "coin_unit_usd": NUMBER, "token_unit_usd": NUMBER, "key_session_usd": NUMBER,
        },
    },
    "assets": [{"id": str, "name": str, "role": str, "description": str, "unit_usd": NUMBER}],
}  # fmt: skip
PREVIEW = {
    "spend_usd": NUMBER, "base_service_units": NUMBER, "bonus_service_units": NUMBER,
    "effective_service_units": NUMBER, "discount_usd": NUMBER,
}  # fmt: skip
STATION_OVERVIEW = {
    "month": MONTH,
    "customers": {"total": int, "active": int},
    "keys": {"total": int, "active": int},
    "treasury": {
        "total_cap_cents": int, "spent_cents": int, "extra_cents": int, "token_volume": int, "topup_count": int,
        "topup_cents": int,
    },
}  # fmt: skip
BRAIN_GATE = {
    "configured": bool, "connected": bool, "url": TEXT_OR_NULL, "endpoint": TEXT_OR_NULL, "error": TEXT_OR_NULL,
    "remote": DICT_OR_NULL,
}  # fmt: skip
STATION_SNAPSHOT = {
    "station": STATION,
    "preview": PREVIEW,
    "overview": STATION_OVERVIEW,
    "leaders": [
        {"id": int, "email": str, "plan_name": str, "spent_cents": int, "extra_cents": int, "token_volume": int}
    ],
    "recent_events": [
        {
            "created_at": TIME, "month": MONTH, "email": str, "provider": str, "model": str, "cost_cents": int,
            "token_volume": int,
        }
    ],
    "plan_mix": [
        {
            "plan_name": str, "customer_count": int, "active_customer_count": int, "total_cap_cents": int,
            "spent_cents": int, "token_volume": int,
        }
    ],
    "provider_mix": [{"provider": str, "event_count": int, "spent_cents": int, "token_volume": int}],
    "topup_sources": [{"source": str, "event_count": int, "amount_cents": int}],
    "recent_topups": [{"created_at": TIME, "month": MONTH, "source": str, "status": str, "amount_cents": int}],
    "brain_gate": BRAIN_GATE,
    "storage_ready": bool,
}  # fmt: skip
#: Everybody sees no list: the fields are there.
PUBLIC_OVERVIEW = {
    **{name: Maybe([dict]) if isinstance(shape, list) else shape for name, shape in STATION_SNAPSHOT.items()},
    "ok": bool,
    "digest": {
        "month": MONTH, "live_signal": re.compile("connected|config-only"), "active_customers": int,
        "active_keys": int, "monthly_spend_cents": int, "monthly_topup_cents": int, "monthly_token_volume": int,
        "applied_topups": int, "plan_count": int, "provider_count": int,
    },
}  # fmt: skip

PUSH = {
    "pricing_version": (int, str, None), "base_month_cents": int, "per_gb_cents": int, "bytes_uploaded": int,
    "gb_estimate": NUMBER, "total_cents": int,
}  # fmt: skip
BEAT = {
    "ts": TIME, "ok": bool, "http_ok": bool, "db_ok": bool, "db": bool, "status": INT_OR_NULL, "ms": int,
    "error": TEXT_OR_NULL, "error_type": TEXT_OR_NULL, "build": str, "attempt": int,
}  # fmt: skip

SELF_SERVICE = (
    Case(
        "POST", "request-key", "public",
        {
            "ok": bool, "message": str, "key": str, "key_last4": str, "customer_id": int, "plan": str,
            "limits": {
                "monthly_cap_cents": int, "monthly_cap_dollars": str, "requests_per_minute": int, "max_devices": int,
            },
            "endpoints": {"chat": str, "stream": str, "health": str}, "usage": (str, dict),
        },
        {"email": "self@example.com"},
    ),
)  # fmt: skip

LOGIN = (
    Case("POST", "admin-login", "public", {"token": str}, {"password": "{password}"}),
    Case("POST", "admin-login", "public", ERROR, {"password": "wrong"}, 401),
    Case("POST", "admin-login", "public", ERROR, {}, 400),
    Case("GET", "admin-session-check", "operator", {"ok": bool, "role": str}),
)

CUSTOMERS = (
    Case("GET", "admin-customers", "operator", {"customers": [CUSTOMER]}),
    Case(
        "POST", "admin-customers", "operator", {"customer": {**CUSTOMER_BRIEF, "created_at": TIME}},
        {"email": "new@example.com", "plan_name": "pro", "monthly_cap_cents": 500},
    ),
    Case("POST", "admin-customers", "operator", ERROR, {"email": "{email}"}, 409),
    Case("PATCH", "admin-customers?customer_id={customer}", "operator", {**OK, "customer": CUSTOMER_POLICY},
         {"plan_name": None, "monthly_cap_cents": 100_000}),
    Case("PATCH", "admin-customers", "operator", ERROR, {"plan_name": "pro"}, 400),
    Case("PATCH", "admin-customers?customer_id=999999", "operator", ERROR, {"plan_name": "pro"}, 404),
)  # fmt: skip

KEYS = (
    Case("GET", "admin-keys?customer_id={customer}", "operator", {"keys": [{**KEY_POLICY, "can_reveal": bool}]}),
    Case("GET", "admin-keys?reveal_key_id={key}", "operator", ERROR, status=409),
    Case("POST", "admin-keys", "operator", {"api_key": NEW_KEY},
         {"customer_id": "{customer}", "label": "sub", "role": "deployer", "monthly_cap_cents": None}),
    Case("POST", "admin-keys", "operator", ERROR, {"customer_id": 999999}, 404),
    Case("PATCH", "admin-keys?key_id={spare}", "operator", {**OK, "key": KEY_POLICY}, {"revoked": True}),
    Case("PUT", "admin-keys?rotate_key_id={rotated}", "operator",
         {"rotated": bool, "old_key_id": int, "new_key": NEW_KEY}),
    Case("DELETE", "admin-keys?key_id={spare}", "operator", OK),
)  # fmt: skip

MONEY = (
    Case(
        "GET", "admin-usage?customer_id={customer}&month={month}", "operator",
        {
            "customer": {"id": int, "monthly_cap_cents": int, "email": str, "plan_name": str},
            "month": MONTH,
            "rollup": {
                "spent_cents": int, "extra_cents": int, "input_tokens": int, "output_tokens": int, "updated_at": TIME,
            },
            "per_key": [
                {
                    "id": int, "key_last4": str, "label": str, "spent_cents": int, "input_tokens": int,
                    "output_tokens": int, "updated_at": TIME,
                }
            ],
            "events": [EVENT],
        },
    ),
    Case("GET", "admin-usage", "operator", ERROR, status=400),
    Case("GET", "admin-usage?customer_id=999999", "operator", ERROR, status=404),
    Case("POST", "admin-topup", "operator", {**OK, "customer_id": int, "month": MONTH, "amount_cents": int},
         {"customer_id": "{customer}", "amount_cents": 5, "month": "{month}"}),
    Case("POST", "admin-topup", "operator", ERROR, {"customer_id": 999999, "amount_cents": 5}, 404),
    Case("GET", "admin-invoices?customer_id={customer}&month={month}", "operator", {**INVOICE, "customer_id": int}),
    Case("POST", "admin-invoices?customer_id={customer}&month={month}", "operator",
         {**OK, "month": MONTH, "customer_id": int, "snapshot": SNAPSHOT}),
    Case("GET", "admin-invoices?customer_id=999999", "operator", ERROR, status=404),
    Case("GET", "admin-devices?customer_id={customer}", "operator",
         {"devices": [{**DEVICE, "key_last4": str, "key_label": str}]}),
    Case("PATCH", "admin-devices", "operator", OK, {"api_key_id": "{key}", "install_id": "laptop", "revoked": False}),
)  # fmt: skip

MONITOR = (
    Case("GET", "admin-monitor-events", "operator", {"events": [MONITOR_EVENT], "next_after_id": int}),
    Case("POST", "admin-monitor-prune", "operator", {**OK, "deleted": int, "days": int}, {"days": 30}),
    Case("GET", "monitor-archive-access", "operator",
         {**OK, "prefix": str, "limit": int, "cursor": TEXT_OR_NULL,
          "items": Maybe([{"key": str, "size": int, "updated_at": TIME}])}),
    Case("GET", "monitor-archive-access?key=gateway_events/2026-01-01/batch-1-2.ndjson.gz", "operator", ERROR,
         status=404),
    Case("POST", "monitor-archive-prune", "operator", OK),
)  # fmt: skip

PLATFORMS = (
    Case(
        "GET", "admin-platform-control?month={month}", "operator",
        {
            **OK,
            "storage_ready": bool,
            "counts": {
                "surfaces": int, "connected_remote_docs": int, "cohort_seats": int, "skymail_threads": int,
                "attention_needed": int, "onboarding_inflight": int, "reviewed_platforms": int,
                "station_active_customers": int, "station_active_keys": int,
            },
            "month": MONTH,
            "backup_brain": {
                "configured": bool, "locked": bool, "provider": TEXT_OR_NULL, "model": TEXT_OR_NULL,
                "status": re.compile("ready|unconfigured"),
            },
            "station": {"storage_ready": bool, "brain_gate": BRAIN_GATE, "overview": STATION_OVERVIEW},
            "platforms": [PLATFORM],
        },
    ),
    Case("PUT", "admin-platform-ops", "operator", {**OK, "platform_ops": OPS},
         {"app_id": "cohort-command", "health_status": "healthy", "onboarding_stage": "queued",
          "lifecycle_status": "paused", "owner": "Ada", "notes": "n", "flags": {"a": 1},
          "last_checked_at": "2026-02-01T00:00:00Z"}),
    Case("PUT", "admin-platform-ops", "operator", ERROR, {"app_id": "nobody"}, 400),
    Case("GET", "admin-platform-ops?app_id=cohort-command", "operator", {**OK, "platform_ops": OPS}),
    Case("GET", "admin-platform-ops", "operator",
         {**OK, "platform_ops": {"skyefuelstation": OPS, "cohort-command": OPS}}),
    Case("PUT", "admin-platform-state?app_id=cohort-command", "operator", {**OK, "platform": PLATFORM},
         {"state": {"cohort_name": "Spring"}}),
    Case("GET", "admin-platform-state?app_id=cohort-command", "operator",
         {**OK, "app": APP, "state": DICT_OR_NULL, "platform": PLATFORM}),
    Case("GET", "admin-platform-state?app_id=nobody", "operator", ERROR, status=400),
    Case("DELETE", "admin-platform-state?app_id=cohort-command", "operator",
         {**OK, "deleted": bool, "app_id": str}),
    Case(
        "GET", "admin-platform-events?limit=5", "operator",
        {
            **OK,
            "events": [
                {
                    "source": re.compile("audit|gateway"), "created_at": TIME, "actor": TEXT_OR_NULL,
                    "action": TEXT_OR_NULL, "target": TEXT_OR_NULL, "meta": dict, "level": str, "kind": str,
                    "function_name": TEXT_OR_NULL, "http_status": INT_OR_NULL, "request_id": TEXT_OR_NULL,
                    "group": str, "groupLabel": str, "targetLabel": str, "summary": str,
                }
            ],
        },
    ),
    Case("GET", "admin-skyefuel-station?month={month}", "operator", STATION_SNAPSHOT),
    Case("GET", "skye-fuel-station-overview?month={month}", "public", PUBLIC_OVERVIEW),
    Case("GET", "skye-fuel-station-config", "public", {"station": STATION, "preview": PREVIEW}),
)  # fmt: skip

#: The integrations' own: 501 until they are there.
INTEGRATIONS = (
    *(Case(method, "admin-netlify-token", "operator", NOT_CONFIGURED, status=501)
      for method in ("GET", "POST", "DELETE")),
    *(Case(method, "admin-push-projects", "operator", NOT_CONFIGURED, status=501)
      for method in ("GET", "POST", "PATCH", "DELETE")),
    Case("GET", "admin-push-deploys", "operator", NOT_CONFIGURED, status=501),
    Case("GET", "admin-push-jobs", "operator", NOT_CONFIGURED, status=501),
    Case("GET", "admin-push-invoices", "operator", NOT_CONFIGURED, status=501),
    Case("POST", "admin-push-invoices", "operator", NOT_CONFIGURED, status=501),
    *(Case(method, "admin-github-token", "operator", NOT_CONFIGURED, status=501)
      for method in ("GET", "POST", "DELETE")),
    Case("GET", "admin-github-repos", "operator", NOT_CONFIGURED, status=501),
    Case("GET", "admin-gh-jobs", "operator", NOT_CONFIGURED, status=501),
    Case("POST", "stripe-create-checkout", "operator", NOT_CONFIGURED, status=501),
    Case("POST", "stripe-webhook", "public", NOT_CONFIGURED, status=501),
    Case("POST", "user-topup-checkout", "key", NOT_CONFIGURED, {"amount_cents": 500}, 501),
)  # fmt: skip

OWN = (
    Case(
        "GET", "user-summary?month={month}", "key",
        {
            "customer": {"id": int, "plan_name": str, "monthly_cap_cents": int, "is_active": bool},
            "key": {"id": int, "label": str, "key_last4": str, "has_cap_override": bool},
            "month": {
                "month": MONTH, "cap_cents": int, "spent_cents": int, "customer_cap_cents": int,
                "customer_spent_cents": int, "customer_remaining_cents": int, "key_cap_cents": int,
                "key_spent_cents": int, "key_remaining_cents": int, "customer_tokens": int, "key_tokens": int,
            },
        },
    ),
    Case("GET", "user-summary?month=2026-13", "key", ERROR, status=400),
    Case(
        "GET", "user-events?month={month}", "key",
        {
            "month": MONTH,
            "key": {"id": int, "label": str, "key_last4": str},
            "summary_by_provider": [
                {"provider": str, "calls": int, "cost_cents": int, "input_tokens": int, "output_tokens": int}
            ],
            "events": [{**EVENT, "install_id": TEXT_OR_NULL}],
        },
    ),
    Case("GET", "user-devices", "key", {"api_key_id": int, "devices": [DEVICE]}),
    Case("PATCH", "user-devices", "key", {**OK, "devices": [DEVICE]}, {"install_id": "laptop", "revoked": False}),
    Case("GET", "user-invoices?month={month}", "key", INVOICE),
    Case(
        "GET", "user-push-charges?month={month}", "key",
        {
            "month": MONTH,
            "currency": str,
            "transparency": (str, dict),
            "netlify": {**PUSH, "per_deploy_cents": int, "deploys_ready": int},
            "github": {**PUSH, "pricing_version": re.compile("env"), "per_push_cents": int, "pushes_done": int},
            "total_push_cents": int,
        },
    ),
    Case(
        "GET", "push-whoami", "key",
        {
            **OK, "api_key_id": int, "customer_id": int, "customer_email": str, "role": str, "key_last4": str,
        },
    ),
    Case("POST", "session-token", "key_only", {"token": str, "expires_in": int, "key_last4": str}, {}),
    Case(
        "GET", "gateway-heartbeat-read?history=1", "public",
        {
            **OK,
            "last": (BEAT, None),
            "failures": {"streak": int, "last_failure": (BEAT, None), "last_ok": (BEAT, None)},
            "history": {"updated_at": TIME_OR_NULL, "items": Maybe([BEAT])},
        },
    ),
)  # fmt: skip

TABLE = (*SELF_SERVICE, *LOGIN, *CUSTOMERS, *KEYS, *MONEY, *MONITOR, *PLATFORMS, *INTEGRATIONS, *OWN)

#: The columns of each CSV, its path, who asks for it, and its file's name.
FILES = (
    ("operator", "admin-export?customer_id={customer}&type=events&month={month}",
     "created_at,api_key_id,provider,model,input_tokens,output_tokens,cost_cents,install_id",
     "kaixu-admin-events-{month}-customer{customer}.csv"),
    ("operator", "admin-export?customer_id={customer}&type=events&month={month}&api_key_id={key}",
     "created_at,api_key_id,provider,model,input_tokens,output_tokens,cost_cents,install_id",
     "kaixu-admin-events-{month}-customer{customer}-key{key}.csv"),
    ("operator", "admin-export?customer_id={customer}&type=summary&month={month}",
     "month,customer_id,email,plan,cap_cents,extra_cents,spent_cents,input_tokens,output_tokens",
     "kaixu-admin-summary-{month}-customer{customer}.csv"),
    ("operator", "admin-export?customer_id={customer}&type=invoice&month={month}",
     "type,api_key_id,key_last4,spent_cents,total_tokens",
     "kaixu-admin-invoice-{month}-customer{customer}.csv"),
    ("key", "user-export?type=events&month={month}",
     "created_at,provider,model,input_tokens,output_tokens,cost_cents,install_id",
     "kaixu-events-{month}-key{last4}.csv"),
    ("key", "user-export?type=summary&month={month}",
     "month,customer_id,plan,customer_cap_cents,customer_spent_cents,customer_extra_cents,key_id,key_last4,key_label,"
     "key_cap_cents,key_spent_cents",
     "kaixu-summary-{month}-key{last4}.csv"),
    ("key", "user-export?type=invoice&month={month}",
     "type,api_key_id,key_last4,spent_cents,total_tokens",
     "kaixu-invoice-{month}-customer{customer}.csv"),
)  # fmt: skip

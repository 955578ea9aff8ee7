"""The quick reference: formats, endpoints and defaults, with the values that hold for this gateway now."""

from __future__ import annotations

from kaixu.web.addresses import gateway_url
from kaixu.web.components import Cell, Code, Link
from kaixu.web.formats import money_of_cents
from kaixu.web.navigation import DASHBOARD
from kaixu.web.visits import Visit

FUNCTIONS = "/.netlify/functions"


def quick_reference(visit: Visit) -> list[tuple[str, Cell]]:
    """All entries: names and values."""
    services = visit.services
    settings, operators = services.settings, services.operators
    url = gateway_url(visit)
    selfservice = services.selfservice.section
    catalog = services.catalog
    header = "on" if settings.accepts_password_header else "off"
    cap = money_of_cents(settings.default_selfserve_cap_cents)
    seats = settings.default_selfserve_max_devices
    rpm = settings.default_selfserve_rpm
    limits = f"{cap} a month, {rpm} requests a minute, {seats or 'any number of'} devices"
    return [
        ("Address", Code(url, copy=True)),
        ("Key format", "kx_live_ and 48 characters of base64url, 56 in all"),
        ("Auth header", Code("Authorization: Bearer kx_live_…")),
        ("Operators' login", f"a session of {operators.session_h} h; API tokens for scripts; password header {header}"),
        ("Customers' session", f"{settings.user_session_ttl_seconds / 3600:g} h on the dashboard"),
        ("Chat", Code(f"POST {url}{FUNCTIONS}/gateway-chat", copy=True)),
        ("Stream", Code(f"POST {url}{FUNCTIONS}/gateway-stream", copy=True)),
        ("Embed", Code(f"POST {url}{FUNCTIONS}/gateway-embed", copy=True)),
        ("Search", Code(f"POST {url}{FUNCTIONS}/gateway-embed-search", copy=True)),
        ("Collections", Code(f"GET, DELETE {url}{FUNCTIONS}/gateway-embed-collections", copy=True)),
        ("OpenAI's clients", Code(f"{url}/v1", copy=True)),
        ("Vector storage", "pgvector in this gateway's Postgres; cosine similarity"),
        ("Self-service keys", Link(f"/request-key, mode {selfservice.mode}", "/request-key")),
        ("Self-service defaults", f"{limits}, plan {settings.default_selfserve_plan}"),
        ("Self-service guard", f"{selfservice.per_address} keys and links an hour for an address, "
                               f"{selfservice.per_network} requests for a network"),
        ("User dashboard", Link(DASHBOARD, DASHBOARD)),
        ("Health", Link(f"GET {FUNCTIONS}/health", f"{FUNCTIONS}/health")),
        ("Spend caps", "of the customer, key, group and day; a new customer gets "
                       f"{money_of_cents(settings.default_customer_cap_cents)} a month"),
        ("Rate limits", f"requests a minute (default {settings.default_rpm_limit}) and a day, tokens a minute; "
                        "counted in Postgres"),
        ("Device seats", "the customer's, or those of the key; an install id can be required"),
        ("Lanes", ", ".join(f"{name} ({lane.state})" for name, lane in catalog.lanes.items()) or "none"),
        ("Reporting zone", f"days are {services.gateway.reporting_zone}, months are UTC"),
        ("Monitor events", f"kept {settings.monitor_retention_days} days"),
        ("Environment", "ADMIN_PASSWORD, JWT_SECRET, KEY_PEPPER, DB_ENCRYPTION_KEY, DATABASE_URL, and the lanes' own"),
    ]  # fmt: skip

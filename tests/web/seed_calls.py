"""What a running gateway adds to the seed: calls of the last minutes, and what operators and customers did."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from .gateway import Gateway
from .seed import Seed, SeedCustomer, SeedKey

QUESTIONS = (
    "How long can a customer send back an unopened parcel?",
    "Summarise the quarter for the board in one sentence.",
    "Write a reply to Ms Okafor about her late replacement.",
    "Why does this function run out of connections?",
    "Translate the notice for the harbour into plain English.",
    "Which of these three invoices is the odd one out?",
)

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
AGENTS = ("openai-python/2.8.1", "kaixu-client/1.4.0", BROWSER, "python-httpx/0.28.1")
DEVICES = ("mbp-of-lena", "build-server-2", "warehouse-tablet-07", "laptop-of-sam")

MANUALS = {
    "returns": "Unopened parcels can be returned within thirty days. The label is in the account under Orders.",
    "shipping": "Parcels leave the warehouse on the day they are ordered if the order arrives before two o'clock.",
    "warranty": "The motor has a warranty of five years, all other parts of two. Keep the receipt.",
    "cleaning": "Wipe the housing with a damp cloth. Never use solvents, and unplug the device first.",
    "batteries": "A full battery lasts for nine hours. It is charged in two, and half of it in thirty minutes.",
    "safety": "Keep away from the moving arm while the yellow light is on. The red button stops everything.",
}
CONTRACTS = {
    "lease-2024": "The lease runs for five years and renews by one unless it is ended six months before.",
    "supply-acme": "The supplier delivers within ten working days; after that each day costs two per cent.",
    "nda-orchid": "Neither party tells third parties what it learns of the other for three years.",
    "licence-lumen": "The licence is for one site and up to forty people, and cannot be passed on.",
}


#: What the ids of the requests begin with; the first one is the main customer's.
REQUEST = "req_2f6c01d7a4"


class Caller:
    """Whoever has a token: an owner of the gateway, or a key."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self.http = http
        self.url = url
        self.token = token

    async def ask(
        self,
        method: str,
        name: str,
        body: Any = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Any:
        """The reply to a request, which must have this status."""
        async with self.http.request(
            method,
            f"{self.url}/api/{name}",
            json=body,
            params=query,
            headers={"authorization": f"Bearer {self.token}", **(headers or {})},
        ) as response:
            text = await response.text()
            assert response.status == status, f"{response.status} for {name}: {text}"
            return await response.json()

    async def chat(
        self, model: str, question: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Any:
        """A plain call."""
        provider, _, name = model.partition("/")
        messages = [{"role": "user", "content": question}]
        body = {"provider": provider, "model": name, "messages": messages, "max_tokens": 200, **fields}
        return await self.ask("POST", "gateway-chat", body, status=status, headers=headers)


class Life:
    """The owner and the customers at one gateway."""

    def __init__(self, http: aiohttp.ClientSession, gateway: Gateway) -> None:
        self.http = http
        self.url = gateway.url
        self.owner = self.caller(gateway.seed.admin_token)
        self.customers = dict(gateway.seed.customers)
        self.names: dict[str, str] = {}

    def caller(self, token: str) -> Caller:
        """Somebody with this token."""
        return Caller(self.http, self.url, token)

    def holder(self, customer: str, label: str = "master") -> Caller:
        """Who has a key of a customer."""
        return self.caller(self.customers[customer].keys[label].key)

    async def add_key(self, customer: str, label: str, **fields: Any) -> SeedKey:
        """One more key of a customer."""
        one = self.customers[customer]
        body = {"customer_id": one.id, "label": label, **fields}
        made = (await self.owner.ask("POST", "admin-keys", body))["api_key"]
        key = SeedKey(made["id"], made["key"], label)
        self.customers[customer] = SeedCustomer(one.id, one.email, {**one.keys, label: key})
        return key


async def add_life(gateway: Gateway) -> Seed:
    """All of it; the seed with what was made."""
    async with aiohttp.ClientSession() as http:
        life = Life(http, gateway)
        await add_keys(life)
        await asyncio.gather(add_calls(life), add_collections(life), add_money(life), add_operators(life))
        await add_refusals(life)
        await add_platforms(life)
        life.names["request"] = f"{REQUEST}1"
        of_request = "select id from kaixu.usage_event where request_id = $1"
        life.names["event"] = str(await asyncio.to_thread(gateway.value, of_request, life.names["request"]))
        return Seed(gateway.seed.operator_ids, life.customers, life.names)


async def add_keys(life: Life) -> None:
    """Keys in all states: limited, near their cap, without any money, replaced, expired, revoked, in a group."""
    northwind = life.customers["northwind"].id
    group = await life.owner.ask(
        "POST", "admin-key-groups", {"customer_id": northwind, "name": "Customer care", "monthly_cap_cents": 400}
    )
    soon = (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await life.add_key(
        "northwind", "support desk", rpm_limit=120, max_devices=3, group_id=group["group"]["id"],
        allowed_providers=["openai", "anthropic"],
    )  # fmt: skip
    await life.add_key("northwind", "night batch", day_cap_cents=50, tpm_limit=200_000, expires_at=soon)
    await life.add_key("northwind", "intern", role="viewer", monthly_cap_cents=1, allowed_models={"local": ["gemma-3"]})
    await life.add_key("northwind", "without money", monthly_cap_cents=0)
    revoked = await life.add_key("northwind", "lost laptop")
    await life.owner.ask("DELETE", "admin-keys", key_id=revoked.id)
    life.names["revoked_key"] = str(revoked.id)
    rotated = await life.add_key("northwind", "website", rpm_limit=600)
    await life.owner.ask("PUT", "admin-keys", rotate_key_id=rotated.id, overlap_s=86400)
    await life.owner.ask(
        "PATCH", "admin-customers", {"alert_thresholds": [50, 85, 95], "max_devices_per_key": 5}, customer_id=northwind
    )


async def add_calls(life: Life) -> None:
    """Calls of this minute, by several keys, devices and programs; some fail at the vendor."""
    desk = life.holder("northwind", "support desk")
    calls = [
        life.holder(customer).chat(
            model,
            QUESTIONS[at % len(QUESTIONS)],
            headers={
                "x-kaixu-app": app,
                "x-kaixu-build": "2026.11",
                "x-kaixu-request-id": f"{REQUEST}{at + 1}",
                "user-agent": AGENTS[at % len(AGENTS)],
            },
        )
        for at, (customer, model, app) in enumerate(
            [
                ("northwind", "openai/gpt-4o", "support-desk"),
                ("northwind", "anthropic/claude-sonnet", "code-review"),
                ("northwind", "local/gemma-3", "lab"),
                ("halden", "openai/gpt-4o-mini", "site-search"),
                ("halden", "anthropic/claude-haiku", "newsletter"),
                ("brightleaf", "gemini/gemini-flash", "meeting-minutes"),
                ("osprey", "openai/gpt-4o", "risk-report"),
                ("kestrel", "anthropic/claude-sonnet", "contract-search"),
            ]
        )
    ]
    calls += [
        desk.chat(
            "openai/gpt-4o-mini",
            QUESTIONS[at],
            headers={"x-kaixu-install-id": device, "x-kaixu-app": "support-desk", "user-agent": AGENTS[at]},
            user=f"agent-{at + 1}",
        )
        for at, device in enumerate(DEVICES[:3])
    ]
    await asyncio.gather(*calls)
    await life.owner.ask(
        "PATCH",
        "admin-devices",
        {"api_key_id": life.customers["northwind"].keys["support desk"].id, "install_id": DEVICES[2], "revoked": True},
    )
    await life.holder("osprey").chat("gemini/gemini-broken", QUESTIONS[1], status=502)
    await life.holder("halden").chat("openai/gpt-4o", "boom", status=502)


async def add_refusals(life: Life) -> None:
    """Calls that are refused, each for another reason, and a client that reports an error of its own."""
    await asyncio.gather(
        life.holder("northwind", "without money").chat("openai/gpt-4o", QUESTIONS[0], status=402),
        life.holder("northwind", "intern").chat("openai/gpt-4o", QUESTIONS[0], status=403),
        life.holder("northwind", "lost laptop").chat("openai/gpt-4o", QUESTIONS[0], status=401),
        life.holder("kestrel").chat("openai/gpt-9", QUESTIONS[0], status=400),
        life.caller("kx_live_" + "x" * 48).chat("openai/gpt-4o", QUESTIONS[0], status=401),
        life.caller("").ask("POST", "admin-login", {"password": "not the password"}, status=401),
        life.caller("").ask(
            "POST",
            "client-error-report",
            {
                "client": "support-desk 4.2.0",
                "error": {
                    "name": "TypeError",
                    "message": "Cannot read properties of undefined (reading 'choices')",
                    "stack": "at answer (desk.js:211:17)",
                },
                "context": {"screen": "inbox"},
            },
        ),
    )


async def add_collections(life: Life) -> None:
    """Two collections with documents, and searches in them."""
    northwind = life.holder("northwind")
    for collection, model, texts in (
        ("manuals", "text-embedding-3-small", MANUALS),
        ("contracts", "text-embedding-3-small", CONTRACTS),
    ):
        await northwind.ask(
            "POST",
            "gateway-embed",
            {
                "provider": "openai",
                "model": model,
                "collection": collection,
                "doc_ids": list(texts),
                "input": list(texts.values()),
                "metadata": [{"source": f"{name}.md", "language": "en"} for name in texts],
            },
        )
    await northwind.ask("POST", "gateway-embed-collections", {"name": "drafts", "model": "voyage/voyage-3"})
    for query in ("how long is the battery charged", "can I return a parcel"):
        await northwind.ask("POST", "gateway-embed-search", {"collection": "manuals", "query": query})


async def add_money(life: Life) -> None:
    """Billing details, invoices of the months before, a credit note, a void one, top-ups and codes."""
    ids = {name: one.id for name, one in life.customers.items()}
    owner = life.owner
    parties = {
        "northwind": ("Northwind Freight B.V.", ["Wijnhaven 3", "3011 WH Rotterdam"], "NL", "NL123456782B90"),
        "halden": ("Halden Robotics GmbH", ["Industriestraße 8", "28199 Bremen"], "DE", None),
        "brightleaf": ("Brightleaf Clinic Ltd", ["2 Garden Street", "Dublin 2"], "IE", None),
    }
    for name, (full_name, address, country, tax_id) in parties.items():
        body = {"customer_id": ids[name], "name": full_name, "address": address, "country": country, "tax_id": tax_id}
        await owner.ask("PATCH", "admin-billing", body)
    earlier, before_last = months_before(2), months_before(3)
    numbers = []
    for name, month in (
        ("northwind", before_last), ("halden", before_last), ("northwind", earlier), ("brightleaf", earlier)
    ):  # fmt: skip
        issued = await owner.ask("POST", "admin-invoice-finalize", {"customer_id": ids[name], "month": month})
        numbers.append(issued["number"])
    life.names |= {"invoice": numbers[2], "month": earlier, "open_month": months_before(0)}
    await owner.ask(
        "POST", "admin-invoice-credit", {"number": numbers[0], "reason": "The outage of the 12th", "amount_cents": 50}
    )
    await owner.ask("POST", "admin-invoice-void", {"number": numbers[3], "reason": "Wrong address"})
    await owner.ask("POST", "admin-invoices", customer_id=ids["northwind"], month=months_before(0))
    for name, cents, key in (("northwind", 500, "order 4711"), ("tidewater", 250, "order 4712")):
        body = {"customer_id": ids[name], "amount_cents": cents, "idempotency_key": key}
        await owner.ask("POST", "admin-topup", body)
    ends = f"{datetime.now(UTC).year + 1}-12-31"
    batch = {"amount_cents": 1000, "expires_at": ends, "count": 20, "note": "Conference in Lisbon"}
    codes = (await owner.ask("POST", "admin-codes", batch))["codes"]
    await life.holder("kestrel").ask("POST", "user-redeem", {"code": codes[0]})


async def add_operators(life: Life) -> None:
    """An invitation that waits, somebody who is switched off, and API tokens."""
    owner = life.owner
    body = {"email": "tomas@gateway-house.example", "name": "Tomas Novak", "role": "operator", "invite": True}
    invited = await owner.ask("POST", "admin-operators", body)
    life.names["invitation"] = invited["invitation"].partition("token=")[2]
    gone = await owner.ask(
        "POST", "admin-operators", {"email": "pia@gateway-house.example", "name": "Pia Sato", "role": "viewer"}
    )
    await owner.ask("PATCH", "admin-operators", {"operator_id": gone["operator"]["id"], "is_disabled": True})
    await owner.ask("POST", "admin-tokens", {"name": "nightly report", "scopes": ["read"], "expires_in_days": 90})


async def add_platforms(life: Life) -> None:
    """Notes about surfaces, and the state of one."""
    await life.owner.ask(
        "PUT",
        "admin-platform-ops",
        {"app_id": "status-board", "health_status": "healthy", "onboarding_stage": "complete", "owner": "Jonas"},
    )
    state = {"cohort_name": "Autumn", "total_students": 48, "students": [{"name": "Ada"}, {"name": "Kofi"}]}
    await life.owner.ask("PUT", "admin-platform-state", {"state": state}, app_id="cohort-command")


def months_before(count: int) -> str:
    """A month in the past, as `2026-09`."""
    now = datetime.now(UTC)
    number = now.year * 12 + now.month - 1 - count
    return f"{number // 12}-{number % 12 + 1:02}"

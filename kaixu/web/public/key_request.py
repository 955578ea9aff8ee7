"""`/request-key`: the form by which somebody gets a key, as far as the operator lets them."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.key_links import in_words
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.addresses import gateway_url
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Cell, Facts, Field, Form, Link, Money, Notice, Number, Page, Part, Prose, Snippet
from kaixu.web.form_data import shown_again
from kaixu.web.formats import plain_text, sentence, usd_of_cents
from kaixu.web.navigation import DASHBOARD, SIGN_IN, TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

TAB = TABS["request-key"]

#: Replies that mean "not now, but soon": what happens next.
LATER = ("KEY_LINK_SENT", "KEY_REQUEST_HELD")


def request_key_pages(site: Site) -> list[Route]:
    """The routes of the page."""
    return site.public_page(TAB.path, request_key, posts=True, tab=TAB)


async def request_key(visit: Visit) -> Page | Reply:
    """The form, and what it sends."""
    form = request_form()
    if not visit.is_post:
        return request_page(visit, form)
    try:
        made = await visit.api.send("POST", "request-key", {"email": visit.form.get("email")})
    except ApiFailure as failure:
        if failure.code in LATER:
            return later_page(failure)
        return request_page(visit, shown_again(form, visit.form, failure), status=failure.status)
    return await key_page(visit, made)


def request_form() -> Form:
    """One field: the address."""
    return Form(
        action=TAB.path,
        submit="Request a key",
        id="request-key",
        fields=[
            Field(name="email", label="Your e-mail address", type="email", required=True, maxlength=254, wide=True,
                  autocomplete="email")
        ],
    )  # fmt: skip


def mode_words(visit: Visit) -> list[str]:
    """What happens with a request, by the operator's choice."""
    section = visit.services.selfservice.section
    link = f"The link is valid for {in_words(section.link_valid)} and works once."
    known = (
        "If the address has an account already, no key is shown here: a link is mailed to it. The link makes a new "
        "key, and the self-service key before it stops working then. Other keys of the account are not touched."
    )
    match section.mode:
        case "open":
            return ["A new address gets its key at once, on this page; it is shown a single time.", known, link]
        case "email":
            return [
                "Each address gets a mail with a link. Its button makes the key, which is shown a single time.",
                link,
            ]
        case "approval":
            return ["The operator decides on each request. If yours is approved, a mail with a link comes to you.",
                    "The link makes the key, which is shown a single time."]  # fmt: skip
    return ["Keys cannot be requested here. Ask the operator of this gateway for one."]


def request_page(visit: Visit, form: Form, *, status: int = 200) -> Page:
    """The page with the form, or without it where nobody gets a key."""
    service = visit.services.selfservice
    section, settings = service.section, visit.services.settings
    parts: list[Part] = []
    if section.mode == "off":
        parts.append(Notice("info", "Keys cannot be requested here.", "Ask the operator of this gateway for one."))
    else:
        if section.mode in ("email", "approval") and not service.can_mail:
            text = "This gateway cannot send mails now, and the key comes by mail."
            parts.append(Notice("warn", text, "Ask the operator for a key."))
        parts.append(Card("Request a key", [form], width=6))
    about: list[Part] = [Prose(paragraphs=(), items=mode_words(visit))]
    if section.mode != "off":
        cap = settings.default_selfserve_cap_cents
        seats: Cell = (
            Number(settings.default_selfserve_max_devices) if settings.default_selfserve_max_devices else "any"
        )
        facts: list[tuple[str, Cell]] = [
            ("Monthly cap", Money(usd_of_cents(cap))),
            ("Requests a minute", Number(settings.default_selfserve_rpm)),
            ("Devices", seats),
            ("Plan", settings.default_selfserve_plan),
            ("Requests", f"{section.per_address} an hour for an address"),
        ]
        if section.domains:
            facts.append(("Only addresses at", ", ".join(section.domains[:10])))
        about.append(Facts(facts))
    about.append(Prose(paragraphs=(), links=[Link("I have a key", DASHBOARD), Link("How to use it", "/docs/api")]))
    parts.append(Card("What you get", about, width=6))
    return Page(title="Request a key", parts=parts, status=status)


def later_page(failure: ApiFailure) -> Page:
    """No key now: a mail is on its way, or the operator decides."""
    title = "Look into your mailbox" if failure.code == "KEY_LINK_SENT" else "Your request is noted"
    parts: list[Part] = [Notice("info", sentence(failure.message), failure.hint), Link("Start", "/")]
    return Page(title=title, parts=parts)


async def chat_model(visit: Visit, key: str) -> str | None:
    """A chat model that the new key may use."""
    try:
        models = (await visit.api.send_as(f"Bearer {key}", "GET", "/v1/models"))["data"]
    except ApiFailure:
        return None
    own = [one["kaixu"] for one in models]
    return next((f"{one['provider']}/{one['model']}" for one in own if one["type"] == "chat"), None)


async def key_page(visit: Visit, made: dict[str, Any]) -> Page:
    """The key, once, its limits, a first call, and the way into the dashboard."""
    limits, url = made["limits"], gateway_url(visit)
    bearer = f' \\\n  -H "authorization: Bearer {made["key"]}"'
    snippets: list[Part] = [Snippet(f"curl {url}/v1/models{bearer}", "sh", "The models that you can call")]
    if (model := await chat_model(visit, made["key"])) is not None:
        body = f'{{"model": "{model}",\n       "messages": [{{"role": "user", "content": "Hello!"}}]}}'
        snippets.insert(0, Snippet(f"curl {url}/api/gateway-chat{bearer} \\\n  -d '{body}'", "sh", "The first call"))
    facts: list[tuple[str, Cell]] = [
        ("Plan", made["plan"]),
        ("Monthly cap", limits["monthly_cap_dollars"]),
        ("Requests a minute", Number(limits["requests_per_minute"])),
        ("Devices", Number(limits["max_devices"]) if limits["max_devices"] else "any"),
        ("Chat", made["endpoints"]["chat"]),
        ("Stream", made["endpoints"]["stream"]),
        ("Base URL for OpenAI's clients", f"{url}/v1"),
    ]
    sign_in = Form(action=SIGN_IN, fields=[], submit="Open my dashboard", hidden={"key": made["key"]}, id="open")
    return Page(
        title="Your key",
        parts=[
            Card("The key", [Snippet(made["key"], title="Key", secret=True)]),
            Card("Its limits", [Facts(facts)], width=6),
            Card("Next", [*snippets, sign_in,
                          Prose(paragraphs=[plain_text(made["usage"])], links=[Link("Documentation", "/docs")])],
                 width=6),
        ],
    )  # fmt: skip

"""The customers' sign-in with a key, the check that the browser kept the cookie, and the sign-out."""

from __future__ import annotations

from kaixu.edge.operator_cookies import set_cookie
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.edge.throttle import Throttle
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Field, Form, Link, Notice, Page, Part, Prose
from kaixu.web.form_data import shown_again
from kaixu.web.frames import DASHBOARD_LOGOUT
from kaixu.web.navigation import DASHBOARD, SIGN_IN, TABS
from kaixu.web.page_sessions import CUSTOMER_COOKIE, NO_COOKIES, WHAT_TO_DO, customer_token, keeps_cookies, safe_path
from kaixu.web.site import Site
from kaixu.web.visits import Visit

CHECK = "/gateway/dashboard/sign-in/check"

#: Tries in a minute, in this process.
PER_ADDRESS = 20
IN_ALL = 1200

#: More than any key; what is longer is none.
MOST_LENGTH = 200

NOTES = {
    "ended": Notice(
        state="warn",
        text="Your session has ended: the key was revoked, replaced, or has expired. Sign in with another.",
    ),
    "out": Notice(state="good", text="You are signed out. This browser keeps nothing of your key."),
}


def sign_in_pages(site: Site) -> list[Route]:
    """The routes of the sign-in."""
    throttle = Throttle(per_address=PER_ADDRESS, in_all=IN_ALL, window_s=60)

    async def sign_in(visit: Visit) -> Page | Reply:
        back = safe_path(visit.form.get("next") or visit.query.get("next", ""), DASHBOARD)
        if not visit.is_post:
            return sign_in_page(visit, sign_in_form(back))
        throttle.require(visit.request.address, "tries to sign in")
        return await begin_session(visit, back)

    return [
        *site.public_page(SIGN_IN, sign_in, posts=True, tab=TABS["sign-in"]),
        *site.public_page(CHECK, check),
        *site.customer_page(DASHBOARD_LOGOUT, sign_out, posts=True),
    ]


async def begin_session(visit: Visit, back: str) -> Page | Reply:
    """Exchange the key for a session token, in a cookie that no script can read. The key is kept nowhere."""
    key = visit.form.get("key")
    try:
        if not key.isascii() or not key.isprintable() or " " in key or len(key) > MOST_LENGTH:
            raise ApiFailure(401, {"error": "this is not a key"}, {})
        begun = await visit.api.send_as(f"Bearer {key}", "POST", "session-token")
    except ApiFailure as failure:
        if failure.status != 401:
            return sign_in_page(visit, shown_again(sign_in_form(back), visit.form, failure), status=failure.status)
        body = {
            "error": "This key does not work",
            "hint": "Copy all of it: it begins with kx_live_ and has 56 characters. A key that was revoked, replaced, "
            "or has expired does not work any more.",
            "field": "key",
        }
        form = shown_again(sign_in_form(back), visit.form, ApiFailure(401, body, {}))
        return sign_in_page(visit, form, status=401)
    reply = visit.redirect(CHECK, next=back)
    reply.headers["set-cookie"] = set_cookie(CUSTOMER_COOKIE, begun["token"], max_age_s=begun["expires_in"])
    return reply


def sign_in_form(back: str) -> Form:
    """One field: the key."""
    return Form(
        action=SIGN_IN,
        submit="Sign in",
        hidden={"next": back},
        id="sign-in",
        fields=[
            Field(name="key", label="Your key", type="password", required=True, maxlength=MOST_LENGTH, wide=True,
                  placeholder="kx_live_…", hint="It begins with kx_live_. Your operator gave it to you, or the page "
                  "where you requested it."),
        ],
    )  # fmt: skip


def sign_in_page(visit: Visit, form: Form, *, status: int = 200) -> Page:
    """The page of the sign-in."""
    parts: list[Part] = []
    parts += [note for name, note in NOTES.items() if visit.query.get(name) and not visit.is_post]
    if not keeps_cookies(visit.services, visit.request):
        parts.append(Notice(state="warn", text=NO_COOKIES, hint=WHAT_TO_DO))
    parts.append(Card("Sign in with your key", [form], width=6))
    hours = visit.services.settings.user_session_ttl_seconds / 3600
    about = Prose(
        paragraphs=[
            "The dashboard shows what your key may spend and what it has spent, every call with its price, your "
            "devices, invoices and exports, and how the gateway is. You can also try models there."
        ],
        items=[
            "The key is exchanged for a session and not stored: not in this browser, not in an address.",
            f"The session ends after {hours:g} hours, when you sign out, or at once when the key is revoked.",
            "Keys with the role admin or owner see the whole account, other keys their own calls.",
        ],
        links=[
            Link("I have no key yet", "/request-key", icon="key-round"),
            Link("I am an operator", "/gateway/login", icon="shield"),
        ],
    )
    parts.append(Card("What you find there", [about], width=6))
    return Page(title="User dashboard", parts=parts, status=status)


async def check(visit: Visit) -> Page | Reply:
    """Where a sign-in leads first: a browser that dropped the cookie is told so instead of being asked again."""
    if customer_token(visit.services, visit.request) is not None:
        back = safe_path(visit.query.get("next", ""), DASHBOARD)
        return Reply(303, {"location": back, "cache-control": "no-store"}, b"")
    text = "The key was right, but your browser did not keep the cookie of the session."
    notice = Notice(state="bad", text=text, hint=f"{NO_COOKIES} {WHAT_TO_DO}")
    return Page(title="Not signed in", parts=[notice, Link("Back", SIGN_IN)], status=400)


async def sign_out(visit: Visit) -> Page | Reply:
    """Forget the session in this browser."""
    if not visit.is_post:
        return visit.redirect(DASHBOARD)
    reply = visit.redirect(SIGN_IN, out="1")
    reply.headers["set-cookie"] = set_cookie(CUSTOMER_COOKIE, "", max_age_s=0)
    return reply

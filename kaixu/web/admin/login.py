"""The operators' login, its second factor, the check that the browser kept the cookie, and the logout."""

from __future__ import annotations

from kaixu.accounts.operator_identity import ANY
from kaixu.accounts.operator_passwords import MOST_LENGTH
from kaixu.edge.operator_cookies import SESSION_COOKIE, set_cookie
from kaixu.edge.operators import identify
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Field, Form, Link, Notice, Page, Part, Prose
from kaixu.web.form_data import shown_again
from kaixu.web.navigation import ADMIN, DASHBOARD
from kaixu.web.page_sessions import NO_COOKIES, WHAT_TO_DO, keeps_cookies, safe_path
from kaixu.web.site import LOGIN, Site
from kaixu.web.visits import Visit

CHECK = "/gateway/login/check"
LOGOUT = "/gateway/logout"


def login_pages(site: Site) -> list[Route]:
    """The routes of the login."""
    return [
        *site.public_page(LOGIN, login, posts=True),
        *site.public_page(CHECK, check),
        *site.operator_page(LOGOUT, logout, access=ANY, posts=True),
    ]


async def login(visit: Visit) -> Page | Reply:
    """The form, and what it sends."""
    back = safe_path(visit.form.get("next") or visit.query.get("next", ""), ADMIN)
    form = login_form(visit, back, with_code=visit.form.has("code"))
    if visit.is_post:
        given = {name: visit.form.raw(name) for name in ("password", "code") if visit.form.raw(name)}
        if email := visit.form.get("email"):
            given["email"] = email
        try:
            begun = await visit.api.send("POST", "admin-login", given)
        except ApiFailure as failure:
            form = login_form(visit, back, with_code=visit.form.has("code") or failure.code == "TOTP_REQUIRED")
            if (wait := failure.headers.get("retry-after")) is not None:
                visit.headers["retry-after"] = wait
            return login_page(visit, shown_again(form, visit.form, failure), status=failure.status)
        visit.headers["set-cookie"] = set_cookie(SESSION_COOKIE, begun["token"], max_age_s=begun["expires_in"])
        reply = visit.redirect(CHECK, next=back)
        reply.headers.update(visit.headers)
        return reply
    return login_page(visit, form)


def login_form(visit: Visit, back: str, *, with_code: bool) -> Form:
    """E-mail and password, and the code of the second factor once it is asked for."""
    with_password = visit.services.operators.admin_password
    hint = "Leave it empty to log in with ADMIN_PASSWORD." if with_password else ""
    fields = [
        Field(name="email", label="E-mail", type="email", autocomplete="username", hint=hint, maxlength=254,
              required=not with_password),
        Field(name="password", label="Password", type="password", autocomplete="current-password", required=True,
              maxlength=MOST_LENGTH),
    ]  # fmt: skip
    if with_code:
        hint = "Six digits of your authenticator, or a recovery code."
        fields.append(Field(name="code", label="Code", autocomplete="one-time-code", hint=hint, maxlength=40))
    return Form(action=LOGIN, fields=fields, submit="Log in", hidden={"next": back}, id="login")


def login_page(visit: Visit, form: Form, *, status: int = 200) -> Page:
    """The page of the login: also the ways to everything that needs none."""
    parts: list[Part] = []
    if not keeps_cookies(visit.services, visit.request):
        parts.append(Notice(state="warn", text=NO_COOKIES, hint=WHAT_TO_DO))
    inside: list[Part] = []
    section = visit.services.operators
    if section.oidc is not None:
        inside.append(Link("Log in with single sign-on", "/api/admin-oidc-start", icon="shield"))
    if not section.sso_only or section.admin_password:
        inside.append(form)
    parts.append(Card("Admin login", inside, width=6))
    about = Prose(
        paragraphs=[
            "Behind this login you set spend caps, limits and device seats for every customer, see each call and its "
            "price, and close the month with invoices. The first login is with the password in ADMIN_PASSWORD; after "
            "that, give each operator a login of their own under Operators & audit.",
            "You call models with a key, or want one? Then this is not your login:",
        ],
        links=[
            Link("Request an API key", "/request-key", icon="key-round"),
            Link("I have a key: user dashboard", DASHBOARD, icon="chart-line"),
            Link("SkyeFuelStation", "/skyefuelstation/", icon="fuel"),
        ],
    )
    parts.append(Card("For operators", [about], width=6))
    return Page(title="Log in", parts=parts, status=status)


async def check(visit: Visit) -> Page | Reply:
    """Where a login leads first: a browser that dropped the cookie is told so instead of being asked again."""
    if await identify(visit.services, visit.request) is not None:
        back = safe_path(visit.query.get("next", ""), ADMIN)
        return Reply(303, {"location": back, "cache-control": "no-store"}, b"")
    text = "The password was right, but your browser did not keep the cookie of the login."
    notice = Notice(state="bad", text=text, hint=f"{NO_COOKIES} {WHAT_TO_DO}")
    return Page(title="Not logged in", parts=[notice, Link("Back to the login", LOGIN)], status=400)


async def logout(visit: Visit) -> Page | Reply:
    """End the session; every process refuses it from now on."""
    if not visit.is_post:
        return visit.redirect(ADMIN)
    reply = await visit.api.reply("POST", "admin-logout")
    cookie = reply.headers["set-cookie"]
    return Reply(303, {"location": LOGIN, "set-cookie": cookie, "cache-control": "no-store"}, b"")

"""`admin-invitation`: the page behind the link of an invitation, where an operator chooses a password."""

from __future__ import annotations

from urllib.parse import parse_qs

from kaixu.accounts.operator_acceptance import accept_invitation
from kaixu.accounts.operator_invitations import PAGE, find_invitation
from kaixu.accounts.operator_passwords import LEAST_LENGTH, MOST_LENGTH, acceptable
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.edge.throttle import Throttle
from kaixu.plugin.errors import Unprocessable

from .components import Card, Field, Form, Link, Notice, Page
from .form_data import FormData, shown_again
from .navigation import ADMIN
from .page import plain_page, shown_as_page
from .site import LOGIN, Site

TITLE = "Choose a password"

#: Requests in a minute, in this process.
PER_ADDRESS = 30
IN_ALL = 300


def invitation_pages(site: Site) -> list[Route]:
    """The routes of invitations. Opening the link changes nothing: programs that check mail open links, too."""
    services = site.services
    throttle = Throttle(per_address=PER_ADDRESS, in_all=IN_ALL, window_s=60)

    async def show(request: IncomingRequest) -> Reply:
        throttle.require(request.address)
        token = request.args.get("token", "")
        operator = await find_invitation(services.pool, token)
        return plain_page(request, password_page(token, operator.email))

    async def accept(request: IncomingRequest) -> Reply:
        throttle.require(request.address)
        given = read_form(request.body)
        token = given.get("token", "")
        try:
            password = acceptable(given.get("password"), "password")
            if given.get("again") != password:
                raise Unprocessable("the two passwords differ", field="again")
        except Unprocessable as error:
            operator = await find_invitation(services.pool, token)
            return plain_page(request, password_page(token, operator.email, error))
        operator = await accept_invitation(
            services.pool,
            services.passwords,
            token,
            password,
            section=services.operators,
            request_id=request.request_id,
        )
        links = [Link("Log in", LOGIN), Link("Overview", ADMIN)]
        notice = Notice(state="good", text=f"You can now log in as {operator.email}.", actions=links)
        return plain_page(request, Page(title="The password is set", parts=[notice]))

    return [
        Route(method, function_paths(PAGE), shown_as_page(handler), auth="public", rate="address",
              max_body_bytes=SMALL_BODY_BYTES)
        for method, handler in (("GET", show), ("POST", accept))
    ]  # fmt: skip


def password_page(token: str, email: str, error: Unprocessable | None = None) -> Page:
    """The page with the form."""
    form = Form(
        action=PAGE,
        submit="Set the password",
        hidden={"token": token},
        id="password",
        fields=[
            Field(name="password", label="Password", type="password", autocomplete="new-password", required=True,
                  maxlength=MOST_LENGTH, hint=f"{LEAST_LENGTH} characters or more. Several words are easy to keep."),
            Field(name="again", label="Once more", type="password", autocomplete="new-password", required=True,
                  maxlength=MOST_LENGTH),
        ],
    )  # fmt: skip
    if error is not None:
        form = shown_again(form, FormData(), error)
    status = 200 if error is None else 422
    return Page(title=TITLE, subtitle=f"For {email}.", parts=[Card(TITLE, [form], width=6)], status=status)


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form (application/x-www-form-urlencoded); the first of each name. Raises `Unprocessable`."""
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=10, errors="strict")
    except (UnicodeError, ValueError):
        raise Unprocessable("the form cannot be read") from None
    return {name: values[0] for name, values in fields.items()}

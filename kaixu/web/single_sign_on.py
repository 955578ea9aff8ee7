"""`admin-oidc-start` and `admin-oidc-return`: the two ends of single sign-on in an operator's browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from kaixu.accounts.operator_sessions import LoginClient
from kaixu.config.operators_section import LOOPBACK, OidcSection, is_safe_address
from kaixu.edge.operator_cookies import LOGIN_COOKIE, SESSION_COOKIE, read_cookie, set_cookie
from kaixu.edge.operators import session_of
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply
from kaixu.edge.routes import Handler, Route
from kaixu.edge.services import Services
from kaixu.edge.throttle import Throttle
from kaixu.edge.tokens import make_admin_token
from kaixu.ops.late_import import ready
from kaixu.plugin.errors import Conflict, NotFound

from .admin.login import CHECK
from .components import Link
from .page import shown_as_page
from .site import LOGIN, Site

START, RETURN = "admin-oidc-start", "admin-oidc-return"

#: Loads the libraries of OAuth and JOSE, which only gateways with an identity provider need.
LOGIN_BY_PROVIDER = "kaixu.accounts.oidc_login"

#: Logins in a minute, in this process: each asks the identity provider.
PER_ADDRESS = 20
IN_ALL = 200
TOO_MANY = "logins from this address"


def single_sign_on_pages(site: Site) -> list[Route]:
    """The routes of single sign-on."""
    services = site.services
    throttle = Throttle(per_address=PER_ADDRESS, in_all=IN_ALL, window_s=60)

    async def start(request: IncomingRequest) -> Reply:
        throttle.require(request.address, TOO_MANY)
        section = require_section(services)
        await ready(LOGIN_BY_PROVIDER)
        from kaixu.accounts.oidc_login import LIFETIME_S, begin_login

        begun = await begin_login(services.pool, section, redirect_url(services, section, request))
        cookie = set_cookie(LOGIN_COOKIE, begun.browser_secret, max_age_s=LIFETIME_S)
        headers = {
            "location": begun.url,
            "set-cookie": cookie,
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
        }
        return Reply(302, headers, b"")

    async def come_back(request: IncomingRequest) -> Reply:
        throttle.require(request.address, TOO_MANY)
        section = require_section(services)
        client = LoginClient(
            request.address,
            request.headers.get("user-agent"),
            request.request_id,
            replaces=session_of(services, request.headers),
        )
        await ready(LOGIN_BY_PROVIDER)
        from kaixu.accounts.oidc_login import end_login

        begun = await end_login(
            services.pool,
            services.operators,
            redirect_url(services, section, request),
            request.args,
            read_cookie(request.headers, LOGIN_COOKIE),
            client,
        )
        token = make_admin_token(services.secrets.jwt_secret, begun.random_id, ttl_s=begun.lifetime_s)
        headers = {
            "location": CHECK,  # where a browser that dropped the cookie is told so
            "set-cookie": set_cookie(SESSION_COOKIE, token, max_age_s=begun.lifetime_s),
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
        }
        return Reply(303, headers, b"")

    def route(name: str, handler: Handler) -> Route:
        async def shown(request: IncomingRequest) -> Reply:
            """Its errors are pages, with the ways to a login that there are."""
            again = [] if services.operators.oidc is None else [Link("Log in again", f"/api/{START}")]
            links = [*again, Link("The login of operators", LOGIN)]
            return await shown_as_page(handler, title="The login did not succeed", links=links)(request)

        return Route("GET", function_paths(name), shown, auth="public", rate="address", max_body_bytes=SMALL_BODY_BYTES)

    return [route(START, start), route(RETURN, come_back)]


def require_section(services: Services) -> OidcSection:
    """The provider of kaixu.yaml. Raises `NotFound` where there is none."""
    section = services.operators.oidc
    if section is None:
        raise NotFound("single sign-on is not set up", hint="Add `operators.oidc` to kaixu.yaml.")
    return section


def redirect_url(services: Services, section: OidcSection, request: IncomingRequest) -> str:
    """Where the provider sends the browser back: with https, or on this machine, since the cookies need that.

    Never from the request's `host`, which anybody can send, except on this machine. Raises `Conflict`.
    """
    if section.redirect_url is not None:
        return section.redirect_url
    public = services.settings.gateway_url
    if public is not None:
        try:
            return is_safe_address(f"{public}/api/{RETURN}")
        except ValueError:
            pass
    host = request.headers.get("host") or ""
    if public is None and loopback_host(host):
        return f"http://{host}/api/{RETURN}"
    raise Conflict(
        "single sign-on works with https or on this machine only",
        hint="Set GATEWAY_URL to the https:// address of the gateway, or `operators.oidc.redirect_url`.",
    )


def loopback_host(host: str) -> bool:
    """Whether a `host` header names this machine."""
    try:
        parts = urlsplit(f"http://{host}")
        return parts.hostname in LOOPBACK and parts.netloc == host and (parts.port is None or parts.port > 0)
    except ValueError:
        return False

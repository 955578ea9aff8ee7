"""The site: registers pages as routes, and gives each request of a page its visitor, its frame and its headers."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from kaixu.accounts.operator_identity import READ, Access
from kaixu.config.spreadsheet import FORMULA_STARTS
from kaixu.edge.operator_cookies import require_same_origin, set_cookie
from kaixu.edge.operators import identify
from kaixu.edge.request import IncomingRequest, UploadSource
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import JSON, Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.throttle import Throttle
from kaixu.plugin.errors import KaixuError, Unauthenticated

from .api_calls import Api, ApiFailure, ApiRoutes, QueryValue, json_of, query_text
from .components import Link, Notice, Page
from .compression import compressed
from .csv_twin import csv_of
from .file_form import FileForm, open_file_form
from .form_data import FORM, FormData, read_form
from .formats import plain_text, sentence
from .frames import frame_of
from .navigation import ADMIN, DASHBOARD, SIGN_IN, Tab
from .page_sessions import CUSTOMER_COOKIE, customer_token, operator_cookie, require_form_token
from .redirects import short_location
from .rendering import render_block, render_page
from .uploads import UPLOAD, read_upload
from .visits import Audience, Visit

#: What a page is built from: the visit. A `Reply` instead of a `Page` is sent as it is (a redirect, a file).
Build = Callable[[Visit], Awaitable[Page | Reply]]

#: The endpoint of the API that has the same data as a page, for a visit: its name, and its query.
Twin = Callable[[Visit], tuple[str, Mapping[str, QueryValue]]]

LOGIN = "/gateway/login"

HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types htmx"
)

#: The `HX-Target` of a page that `static/drawer.js` asks for.
DRAWER = "div#drawer-body"

#: Requests of public pages in a minute, in this process. Pages with a session are for those who have one.
PER_ADDRESS = 600
IN_ALL = 12_000

CUSTOMER_ID = re.compile(r"[0-9]{1,18}")


class Site:
    """The pages of one gateway. Each method returns the routes of one page."""

    def __init__(self, services: Services, api: ApiRoutes) -> None:
        self.services = services
        self.api = api
        self.throttle = Throttle(per_address=PER_ADDRESS, in_all=IN_ALL, window_s=60)

    def operator_page(
        self,
        path: str,
        build: Build,
        *,
        tab: Tab | None = None,
        access: Access = READ,
        posts: bool = False,
        twin: Twin | None = None,
        max_body_bytes: int = SMALL_BODY_BYTES,
        is_upload: bool = False,
    ) -> list[Route]:
        """A page for operators who may do what `access` says. `posts`: it has forms that it takes itself.

        `max_body_bytes`: of forms with files; above 64 KiB, a stranger is refused before the body is read.
        `is_upload`: its form has a file of any length, which is read as it arrives (`visit.file`).
        """

        async def visit(request: IncomingRequest) -> Visit | Reply:
            return await self.operator_visit(request, tab, access)

        return self._routes(
            path, visit, build, posts=posts, twin=twin, max_body_bytes=max_body_bytes, is_upload=is_upload
        )

    def customer_page(
        self,
        path: str,
        build: Build,
        *,
        tab: Tab | None = None,
        posts: bool = False,
        twin: Twin | None = None,
        max_body_bytes: int = SMALL_BODY_BYTES,
        is_upload: bool = False,
    ) -> list[Route]:
        """A page for customers who have signed in with a key. `is_upload`: see `operator_page`."""

        async def visit(request: IncomingRequest) -> Visit | Reply:
            return await self.customer_visit(request, tab)

        return self._routes(
            path, visit, build, posts=posts, twin=twin, max_body_bytes=max_body_bytes, is_upload=is_upload
        )

    def public_page(
        self, path: str, build: Build, *, posts: bool = False, tab: Tab | None = None, twin: Twin | None = None
    ) -> list[Route]:
        """A page for everybody. Its forms are protected by where the request comes from: there is no session."""

        async def visit(request: IncomingRequest) -> Visit | Reply:
            self.throttle.require(request.address)
            form = self.read(request)
            return Visit(self.services, request, Api(self.api, request), "public", tab, form)

        return self._routes(path, visit, build, posts=posts, twin=twin, max_body_bytes=SMALL_BODY_BYTES)

    def read(self, request: IncomingRequest) -> FormData:
        """The form of a change; nothing for a GET. Raises `Forbidden` if another site's page may have sent it."""
        require_same_origin(request)
        kind = request.headers.get("content-type", "")
        if request.method != "POST":
            return FormData()
        if isinstance(request.upload, FileForm):
            return request.upload.fields
        if kind.startswith(UPLOAD):
            return read_upload(kind, request.body)
        return read_form(request.body) if kind.startswith(FORM) else FormData()

    async def operator_visit(self, request: IncomingRequest, tab: Tab | None, access: Access) -> Visit | Reply:
        """The visit of an operator; the way to the login for everybody else. Raises `Forbidden`."""
        form = self.read(request)
        session = operator_cookie(request)
        # Only the cookie counts here: a page is for browsers, and its form token is made from it.
        alone = {name: value for name, value in request.headers.items() if name not in ("authorization", "x-api-key")}
        identity = None
        if session is not None:
            identity = await identify(self.services, msgspec.structs.replace(request, headers=alone))
        if session is None or identity is None:
            return to_login(LOGIN, request)
        identity.require(access)
        if request.method == "POST":
            require_form_token(self.services, session, form)
        request = msgspec.structs.replace(request, operator=identity)
        api = Api(self.api, request)
        visit = Visit(self.services, request, api, "operator", tab, form, session, identity)
        visit.customer = await selected_customer(api, request.args.get("customer_id") or form.get("customer_id"))
        return visit

    async def customer_visit(self, request: IncomingRequest, tab: Tab | None) -> Visit | Reply:
        """The visit of a customer; the way to the dashboard's sign-in for everybody else. Raises `Forbidden`."""
        form = self.read(request)
        token = customer_token(self.services, request)
        if token is None:
            return to_login(SIGN_IN, request)
        if request.method == "POST":
            require_form_token(self.services, token, form)
        api = Api(self.api, request, f"Bearer {token}")
        visit = Visit(self.services, request, api, "customer", tab, form, token)
        try:
            visit.summary = await api.get("user-summary")
        except ApiFailure as failure:
            if failure.status == 401:
                return session_ended()
            raise
        visit.key = visit.summary["key"]
        return visit

    def _routes(
        self,
        path: str,
        visit_of: Callable[[IncomingRequest], Awaitable[Visit | Reply]],
        build: Build,
        *,
        posts: bool,
        twin: Twin | None,
        max_body_bytes: int,
        is_upload: bool = False,
    ) -> list[Route]:
        async def page(request: IncomingRequest) -> Reply:
            visit: Visit | Reply | None = None
            try:
                if request.upload is not None:
                    request = await with_fields(request, request.upload)
                visit = await visit_of(request)
                if isinstance(visit, Reply):
                    return visit
                built = await build(visit)
                return built if isinstance(built, Reply) else self.page_reply(visit, built)
            except KaixuError as error:
                request.facts.failed(error)
                failure = failure_of(error, request)
            except ApiFailure as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - as at the edge, but for somebody who reads it in a browser
                reply = self.api.failures.reply(error, request)
                failure = ApiFailure(reply.status, json_of(reply), reply.headers)
            return self.failed(request, visit if isinstance(visit, Visit) else None, failure)

        def twin_in(form: str) -> Callable[[IncomingRequest], Awaitable[Reply]]:
            async def data(request: IncomingRequest) -> Reply:
                assert twin is not None
                try:
                    visit = await visit_of(request)
                    if isinstance(visit, Reply):
                        raise Unauthenticated("Unauthorized", hint="Log in on the page first.")
                    return await twin_reply(visit, *twin(visit), form)
                except ApiFailure as failure:
                    reply = json_reply(failure.body, failure.status, {**failure.headers})
                except KaixuError as error:
                    reply = self.api.failures.reply(error, request)
                reply.headers["cache-control"] = "no-store"
                return reply

            return data

        routes = [Route("GET", (path,), page, auth="public", rate="address", max_body_bytes=SMALL_BODY_BYTES)]
        if posts:
            if max_body_bytes > SMALL_BODY_BYTES:  # a stranger's long body is not read
                routes.append(
                    Route("POST", (path,), page, auth="operator_page", rate="call", max_body_bytes=max_body_bytes)
                )
            else:
                routes.append(
                    Route(
                        "POST",
                        (path,),
                        page,
                        auth="public",
                        rate="address",
                        max_body_bytes=max_body_bytes,
                        is_upload=is_upload,
                    )
                )
        if twin is not None:
            base = path.removesuffix(".html")
            base = f"{base}/overview" if base == ADMIN else base
            routes += [
                Route("GET", (f"{base}.{form}",), twin_in(form), auth="public", rate="address",
                      max_body_bytes=SMALL_BODY_BYTES)
                for form in ("json", "csv")
            ]  # fmt: skip
        return routes

    def page_reply(self, visit: Visit, page: Page) -> Reply:
        """A page as HTML."""
        nonce = secrets.token_urlsafe(16)
        # A page that opens in the drawer needs no second frame around it.
        render = render_block if visit.request.headers.get("hx-target") == DRAWER else render_page
        html = render(page, frame_of(visit, page, nonce))
        body, encoding = compressed(html.encode("utf-8", "replace"), page, visit.request.headers)
        headers = HEADERS | {"content-security-policy": POLICY.format(nonce=nonce)} | encoding | visit.headers
        return Reply(page.status, headers, body)

    def failed(self, request: IncomingRequest, visit: Visit | None, failure: ApiFailure) -> Reply:
        """What went wrong, as a page in the frame that the visitor knows."""
        if failure.status == 401 and visit is not None and visit.audience != "public":
            return session_ended() if visit.audience == "customer" else to_login(LOGIN, request)
        if visit is None:
            visit = Visit(self.services, request, Api(self.api, request), "public", None, FormData())
        reply = self.page_reply(visit, failure_page(failure, visit.audience))
        if (wait := failure.headers.get("retry-after")) is not None:
            reply.headers["retry-after"] = wait
        return reply


async def with_fields(request: IncomingRequest, body: UploadSource) -> IncomingRequest:
    """A request with a form whose fields are read, and whose file is not. Raises `Forbidden`, `Unprocessable`."""
    require_same_origin(request)
    form = await open_file_form(request.headers.get("content-type", ""), body)
    return msgspec.structs.replace(request, upload=form)


def failure_page(failure: ApiFailure, audience: Audience) -> Page:
    """What went wrong, its hint, its code and request id, and a way on."""
    title = {403: "Not allowed", 404: "Not found", 429: "Too many requests"}.get(failure.status, "This did not work")
    way = {"operator": Link("Overview", ADMIN), "customer": Link("Dashboard", DASHBOARD), "public": Link("Start", "/")}
    code = f"(Error {failure.code}, request {failure.request_id})"
    hint = " ".join(part for part in (plain_text(failure.hint), code) if part)
    notice = Notice(state="bad", text=sentence(failure.message), hint=hint)
    return Page(title=title, parts=[notice, way[audience]], status=failure.status)


def failure_of(error: KaixuError, request: IncomingRequest) -> ApiFailure:
    """An error of a page as the API would tell it."""
    body = {
        "error": error.message,
        "code": error.code,
        "hint": error.hint,
        "field": error.field,
        "request_id": request.request_id,
    }
    wait = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    return ApiFailure(error.status, body, wait)


def to_login(path: str, request: IncomingRequest) -> Reply:
    """Go to a login, and come back afterwards to a page that was opened; not to a form that was sent."""
    back = request.path + (f"?{request.query}" if request.query else "")
    location = path
    if request.method == "GET" and back != path:
        location = f"{path}?{query_text({'next': back})}"
    return Reply(303, {"location": short_location(location), "cache-control": "no-store"}, b"")


def session_ended() -> Reply:
    """Go to the customers' sign-in without the cookie of a key that does not work any more."""
    cookie = set_cookie(CUSTOMER_COOKIE, "", max_age_s=0)
    return Reply(303, {"location": f"{SIGN_IN}?ended=1", "set-cookie": cookie, "cache-control": "no-store"}, b"")


async def selected_customer(api: Api, given: str) -> dict[str, Any] | None:
    """The customer with this id, as in the list of customers; None where there is none."""
    if not CUSTOMER_ID.fullmatch(given or ""):
        return None
    found = await api.get("admin-customers", **only_customer(int(given)))
    return next((one for one in found["customers"] if one["id"] == int(given)), None)


def only_customer(customer_id: int) -> dict[str, QueryValue]:
    """The query of the list of customers that gives this one first: newest first, below the next id."""
    return {"before_id": customer_id + 1, "limit": 1}


async def twin_reply(visit: Visit, name: str, query: Mapping[str, QueryValue], form: str) -> Reply:
    """The data of a page: the API's reply, or its list as CSV where the endpoint has no CSV of its own."""
    if form == "json":
        reply = await visit.api.reply("GET", name, query=query)
        return Reply(reply.status, {"content-type": JSON, "cache-control": "no-store"}, reply.body)
    reply = await visit.api.reply("GET", name, query={**query, "format": "csv"})
    if reply.headers.get("content-type", "").startswith("text/csv"):
        return reply
    headers = {
        "content-type": "text/csv; charset=utf-8",
        "content-disposition": f'attachment; filename="kaixu-{name.removeprefix("admin-")}.csv"',
        "cache-control": "no-store",
    }
    return Reply(200, headers, csv_of(json_of(reply), FORMULA_STARTS).encode())

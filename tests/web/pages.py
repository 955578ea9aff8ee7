"""All pages: tests that hold for every page, and `make screens`, go through this list. A new page is a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from .browser import Visitor

Role = Literal["operator", "viewer", "customer", "public"]


class PageState(msgspec.Struct, frozen=True):
    """A page in one state.

    `path` may have `{customer}`, `{email}` and `{key}` of the main customer, and the `names` of the seed: `{request}`,
    `{event}`, `{month}`, `{open_month}`, `{invoice}`, `{invitation}`, `{revoked_key}`. `after`: what is done on the page
    first, such as opening a drawer. `is_main`: its screens are committed. `is_plain`: without our style sheet, so that
    only its content is checked. `snapshot`: whether its accessibility tree is compared.
    """

    name: str
    path: str
    role: Role = "operator"
    status: int = 200
    after: Callable[[Visitor], None] | None = None
    is_main: bool = False
    is_plain: bool = False
    snapshot: bool = True


def open_first(table: str) -> Callable[[Visitor], None]:
    """Open what the first row of a table shows in the drawer."""

    def opened(visitor: Visitor) -> None:
        visitor.page.locator(f"{table} tbody a[data-drawer]").first.click()
        visitor.page.locator("#drawer[open] #drawer-title").wait_for()

    return opened


def wrong_key_form(visitor: Visitor) -> None:
    """Send the form of a key with a limit that is none."""
    visitor.page.get_by_label("Cap override").fill("a lot")
    with visitor.expecting(422):
        visitor.page.get_by_role("button", name="Create sub-key").click()
        visitor.page.get_by_role("alert").wait_for()


def open_palette(visitor: Visitor) -> None:
    """Search for something that each kind of result has."""
    visitor.press("Control+k")
    visitor.page.locator("#palette[open] input").fill("northwind")
    visitor.page.locator("#palette [role=group][aria-label=Customers] [role=option]").first.wait_for()


def open_keys_help(visitor: Visitor) -> None:
    """List the keys of the keyboard."""
    visitor.press("?")
    visitor.page.locator("dialog#shortcuts[open]").wait_for()


# One group for each tab, in their order, so that those who add tabs change different places.

PUBLIC = (
    PageState("login", "/gateway/login", "public", is_main=True),
    PageState("key-link-used", "/request-key/link?token=used", "public", status=404),
    PageState("invitation-used", "/api/admin-invitation?token=used", "public", status=404),
    PageState("invitation", "/api/admin-invitation?token={invitation}", "public"),
    PageState("single-sign-on-off", "/api/admin-oidc-start", "public", status=404),
    PageState("start", "/", "public", is_main=True),
    PageState("request-key", "/request-key", "public", is_main=True),
    PageState("station-public", "/skyefuelstation/", "public"),
    PageState("models-not-public", "/models", "public"),
    PageState("status-public", "/gateway/status", "public", snapshot=False),
    PageState("docs", "/docs", "public", snapshot=False),
    PageState("docs-api", "/docs/api", "public", snapshot=False),
    PageState("not-found", "/gateway/customer-list", "public", status=404),
    PageState("sign-in", "/gateway/dashboard/sign-in", "public"),
)


OVERVIEW = (
    PageState("overview", "/gateway", is_main=True, snapshot=False),
    PageState("overview-compare", "/gateway?view=compare", snapshot=False),
    PageState("palette", "/gateway/create", after=open_palette, snapshot=False),
    PageState("keys-help", "/gateway/create", after=open_keys_help, snapshot=False),
)


MONITOR = (
    PageState("monitor", "/gateway/monitor", is_main=True, snapshot=False),
    PageState("monitor-drawer", "/gateway/monitor?kind=slow", after=open_first("#events"), snapshot=False),
    PageState("monitor-none", "/gateway/monitor?app=nobody-has-this-app"),
    PageState("monitor-wrong", "/gateway/monitor?from=yesterday", status=422),
    PageState("prune", "/gateway/monitor/prune?days=1", snapshot=False),
    PageState("archive", "/gateway/monitor/archive"),
)


CUSTOMERS = (
    PageState("customers", "/gateway/customers", is_main=True),
    PageState("customers-drawer", "/gateway/customers", after=open_first("#customers"), snapshot=False),
    PageState("customers-none", "/gateway/customers?q=nobody-has-this-name"),
    PageState("customer", "/gateway/customer?customer_id={customer}"),
    PageState("customer-delete", "/gateway/customer/delete?customer_id={customer}"),
)


CREATE = (PageState("create", "/gateway/create"),)


KEYS = (
    PageState("keys", "/gateway/keys?customer_id={customer}", is_main=True),
    PageState("keys-no-customer", "/gateway/keys"),
    PageState("keys-none", "/gateway/keys?customer_id={customer}&q=no-such-label"),
    PageState("keys-drawer", "/gateway/keys?customer_id={customer}", after=open_first("#keys"), snapshot=False),
    PageState("keys-undo", "/gateway/keys?customer_id={customer}&done=revoked&done_id={revoked_key}", snapshot=False),
    PageState("key", "/gateway/key?customer_id={customer}&key_id={key}"),
    PageState("key-new", "/gateway/keys/new?customer_id={customer}"),
    PageState("key-new-wrong", "/gateway/keys/new?customer_id={customer}", after=wrong_key_form, snapshot=False),
    PageState("key-change", "/gateway/keys/change?customer_id={customer}&key_id={key}", snapshot=False),
    PageState("key-rotate", "/gateway/keys/rotate?customer_id={customer}&key_id={key}"),
    PageState("key-groups", "/gateway/key-groups?customer_id={customer}"),
    PageState("key-requests", "/gateway/key-requests"),
)


USAGE = (
    PageState("usage", "/gateway/usage?customer_id={customer}", is_main=True, snapshot=False),
    PageState("usage-all", "/gateway/usage", snapshot=False),
    PageState(
        "usage-drawer", "/gateway/usage?customer_id={customer}", after=open_first("#usage-calls"), snapshot=False
    ),
    PageState("usage-none", "/gateway/usage?customer_id={customer}&month=2020-01", snapshot=False),
    PageState("call", "/gateway/call?event={event}&customer_id={customer}", is_main=True, snapshot=False),
)


DEVICES = (
    PageState("devices", "/gateway/devices?customer_id={customer}", is_main=True),
    PageState("devices-no-customer", "/gateway/devices", snapshot=False),
)


BILLING = (
    PageState("billing", "/gateway/billing?customer_id={customer}", is_main=True, snapshot=False),
    PageState("billing-no-customer", "/gateway/billing", snapshot=False),
    PageState("billing-viewer", "/gateway/billing?customer_id={customer}", "viewer", snapshot=False),
    PageState("codes", "/gateway/billing/codes", snapshot=False),
    PageState("month-close", "/gateway/billing/close?month={month}", is_main=True, snapshot=False),
    PageState("month-close-drawer", "/gateway/billing/close", after=open_first("#close"), snapshot=False),
    PageState("month-close-ask", "/gateway/billing/close/issue?month={month}", snapshot=False),
    PageState("invoice", "/gateway/billing/invoice?number={invoice}", is_main=True, snapshot=False),
    PageState("invoice-draft", "/gateway/billing/invoice?customer_id={customer}&month={open_month}", snapshot=False),
    PageState("invoice-void", "/gateway/billing/void?number={invoice}"),
    PageState("invoice-credit", "/gateway/billing/credit?number={invoice}", snapshot=False),
    PageState("invoice-mail", "/gateway/billing/mail?number={invoice}"),
    PageState("webhook-remove", "/gateway/billing/webhook?customer_id={customer}"),
)


EXPORTS = (
    PageState("exports", "/gateway/exports?customer_id={customer}", is_main=True),
    PageState("export-columns", "/gateway/exports/columns?type=events"),
)


LANES = (
    PageState("lanes", "/gateway/lanes", is_main=True),
    PageState("lanes-drawer", "/gateway/lanes", after=open_first("#lanes"), snapshot=False),
    PageState("lane", "/gateway/lanes/lane?lane=openai"),
    PageState("lane-model", "/gateway/lanes/model?lane=anthropic&model=claude-haiku", snapshot=False),
    PageState("lane-new", "/gateway/lanes/new?plugin=openai"),
    PageState("lane-test", "/gateway/lanes/test?lane=local&model=gemma-3"),
)


EMBEDDINGS = (
    PageState("embeddings", "/gateway/embeddings?customer_id={customer}", is_main=True, snapshot=False),
    PageState("embeddings-choose", "/gateway/embeddings", snapshot=False),
    PageState("collection", "/gateway/embeddings/collection?customer_id={customer}&name=manuals"),
    PageState("documents", "/gateway/embeddings/documents?customer_id={customer}&name=manuals", snapshot=False),
    PageState("collection-create", "/gateway/embeddings/create?customer_id={customer}"),
    PageState("collection-purge", "/gateway/embeddings/purge?customer_id={customer}&name=manuals"),
    PageState("collection-reembed", "/gateway/embeddings/reembed?customer_id={customer}&name=manuals"),
    PageState("document", "/gateway/embeddings/document?customer_id={customer}&name=manuals&doc_id=safety"),
    PageState("document-delete", "/gateway/embeddings/delete-document?customer_id={customer}&name=manuals&doc_id=safety"),
    PageState("embed", "/gateway/embeddings/generate?customer_id={customer}"),
    PageState("search", "/gateway/embeddings/search?customer_id={customer}&name=manuals"),
    PageState("import", "/gateway/embeddings/import?customer_id={customer}&name=manuals"),
)  # fmt: skip


PLAYGROUND = (
    PageState("playground", "/gateway/playground?customer_id={customer}", is_main=True),
    PageState("playground-choose", "/gateway/playground", snapshot=False),
    PageState("own-playground", "/gateway/dashboard/playground", "customer", snapshot=False),
)


TIMELINE = (
    PageState("timeline", "/gateway/timeline?source=audit", is_main=True),
    PageState("timeline-drawer", "/gateway/timeline?source=audit", after=open_first("#entries"), snapshot=False),
)


PLATFORMS = (
    PageState("platforms", "/gateway/platforms", is_main=True),
    PageState("platform", "/gateway/platforms/surface?app_id=cohort-command"),
    PageState("platform-document", "/gateway/platforms/document?app_id=cohort-command"),
    PageState("platform-document-delete", "/gateway/platforms/delete-document?app_id=cohort-command"),
)


STATION = (PageState("station", "/gateway/station", is_main=True),)


OPERATORS = (
    PageState("operators", "/gateway/operators", is_main=True),
    PageState("operators-drawer", "/gateway/operators", after=open_first("#operators"), snapshot=False),
    PageState("operator-new", "/gateway/operators/new"),
    PageState("operator-person", "/gateway/operators/person?operator_id=1"),
    PageState("operator-reset", "/gateway/operators/reset?operator_id=1&reset=password"),
    PageState("sessions", "/gateway/operators/sessions"),
    PageState("tokens", "/gateway/operators/tokens"),
    PageState("token-new", "/gateway/operators/tokens/new"),
    PageState("audit", "/gateway/operators/audit", is_main=True),
    PageState("account", "/gateway/account", snapshot=False),
    PageState("password", "/gateway/account/password"),
    PageState("second-factor", "/gateway/account/second-factor"),
)


INTEGRATION = (PageState("integration", "/gateway/integration?customer_id={customer}", is_main=True, snapshot=False),)


TUTORIAL = (
    PageState("tutorial", "/gateway/tutorial?customer_id={customer}", is_main=True, snapshot=False),
    PageState("tutorial-search", "/gateway/tutorial?q=rotate"),
    PageState("tutorial-nothing", "/gateway/tutorial?q=no+such+word"),
)


# The customer's pages.

DASHBOARD = (
    PageState("own-integration", "/gateway/dashboard/integration", "customer", snapshot=False),
    PageState("budget", "/gateway/dashboard.html", "customer", is_main=True, snapshot=False),
    PageState("calls", "/gateway/dashboard/calls", "customer", snapshot=False),
    PageState("calls-drawer", "/gateway/dashboard/calls", "customer", after=open_first("#calls"), snapshot=False),
    PageState("calls-wrong-filter", "/gateway/dashboard/calls?from=yesterday", "customer", status=422, snapshot=False),
    PageState("own-devices", "/gateway/dashboard/devices", "customer"),
    PageState("own-invoices", "/gateway/dashboard/invoices?month={month}", "customer"),
    PageState("own-models", "/gateway/dashboard/models", "customer"),
    PageState("own-status", "/gateway/dashboard/status", "customer", snapshot=False),
)


PAGES: tuple[PageState, ...] = (
    *PUBLIC, *OVERVIEW, *MONITOR, *CUSTOMERS, *CREATE, *KEYS, *USAGE, *DEVICES, *BILLING, *EXPORTS, *LANES, *EMBEDDINGS,
    *PLAYGROUND, *TIMELINE, *PLATFORMS, *STATION, *OPERATORS, *INTEGRATION, *TUTORIAL, *DASHBOARD,
)  # fmt: skip

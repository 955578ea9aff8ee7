"""Sessions for visitors, put into their browsers as a login would."""

from __future__ import annotations

from playwright.sync_api import BrowserContext

from kaixu.edge.operator_cookies import SESSION_COOKIE
from kaixu.edge.tokens import make_session_token
from tests.support.process import SECRETS

from .browser import Visitor
from .gateway import Gateway
from .pages import PageState
from .seed import OPERATORS, SeedCustomer

CUSTOMER_COOKIE = "__Host-kaixu-key"
#: The customer who is meant where none is named.
MAIN_CUSTOMER = "northwind"


def customer_of(gateway: Gateway, name: str = "") -> SeedCustomer:
    """A customer of the seed."""
    return gateway.seed.customers[name or MAIN_CUSTOMER]


def log_in(context: BrowserContext, gateway: Gateway, role: str, customer: str = "") -> None:
    """Give the browser the session of a role; "public" has none."""
    if role == "public":
        return
    if role == "customer":
        one = customer_of(gateway, customer)
        key = next(iter(one.keys.values()))
        name, value = (
            CUSTOMER_COOKIE,
            make_session_token(
                SECRETS["JWT_SECRET"], key_id=key.id, customer_id=one.id, key_last4=key.key[-4:], ttl_s=3600
            ),
        )
    else:
        role = "owner" if role == "operator" else role
        assert role in OPERATORS, f"no such role: {role}"
        name, value = SESSION_COOKIE, gateway.seed.token(role)
    # The browser counts this machine as secure. `__Host-` cookies have a path and no domain.
    context.add_cookies([
        {"name": name, "value": value, "url": gateway.url.replace("http://", "https://"),
         "secure": True, "httpOnly": True, "sameSite": "Lax"}
    ])  # fmt: skip


def path_of(gateway: Gateway, page: PageState) -> str:
    """The path of a page, with the seed's ids in it."""
    one = customer_of(gateway)
    names = {"customer": one.id, "email": one.email, "key": next(iter(one.keys.values())).id}
    return page.path.format(**names, **gateway.seed.names)


def open_page(visitor: Visitor, gateway: Gateway, page: PageState) -> Visitor:
    """Bring a page into its state."""
    visitor.go(path_of(gateway, page), status=page.status)
    if page.after is not None:
        page.after(visitor)
        visitor.settle()
    return visitor

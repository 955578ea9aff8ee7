"""The frame of a page, as data: what stands around its content. `templates/frame.html` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from .components import Notice, State

Theme = Literal["system", "light", "dark"]


class Tab(msgspec.Struct, frozen=True, kw_only=True):
    """A link of the navigation. `count`: what waits there, as a badge; `counted` says in words what it counts."""

    title: str
    href: str
    icon: str = ""
    count: int = 0
    counted: str = "need attention"
    is_current: bool = False


class TabGroup(msgspec.Struct, frozen=True):
    """Tabs under one heading; the first group may have none."""

    title: str
    tabs: Sequence[Tab]


class CustomerChip(msgspec.Struct, frozen=True):
    """The customer that all tabs show. `clear_href`: the same page for all customers."""

    text: str
    href: str
    clear_href: str


class Who(msgspec.Struct, frozen=True):
    """Whose session it is, and its role."""

    name: str
    role: str = ""
    href: str = ""


class StatusChip(msgspec.Struct, frozen=True):
    """How the gateway is, in a few words, and where more is said."""

    state: State
    text: str
    href: str


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What stands around a page.

    `kind`: "public" pages have their tabs in the head, others at the side. `nonce`: of the Content-Security-Policy.
    `form_token`: of the session, in every form that changes something. `flashes`: results of the change before.
    `path`: the address of this page with its query, to come back to it. `search_href`: the page that searches, for
    whoever has no scripts, and `search_json` what the palette asks; "" where there is no search. `theme_action`: where
    the theme is posted to without scripts; "" shows the switch only with scripts. `logout_action`: "" without session.
    """

    kind: Literal["admin", "customer", "public"] = "public"
    title: str = ""
    brand: str = "kAIxU Gateway"
    home_href: str = "/"
    navigation: Sequence[TabGroup] = ()
    customer: CustomerChip | None = None
    operator: Who | None = None
    status: StatusChip | None = None
    nonce: str = ""
    form_token: str = ""
    flashes: Sequence[Notice] = ()
    path: str = "/"
    search_href: str = ""
    search_json: str = ""
    theme: Theme = "system"
    theme_action: str = ""
    logout_action: str = ""
    logout_text: str = "Log out"
    footer: Sequence[Tab] = ()

"""The panels that pages have: those of the integrations that are on, their tabs and addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from kaixu.catalog.catalog import Catalog, IntegrationState
from kaixu.catalog.panels import is_own_tab, slug_of
from kaixu.plugin.panel import Panel
from kaixu.web.api_calls import QueryValue
from kaixu.web.months import MONTH, this_month
from kaixu.web.navigation import DASHBOARD, TABS, Tab
from kaixu.web.visits import Visit

Place = Literal["admin", "dashboard"]

#: Below these are the tabs of integrations, their panels and actions.
BASES: Mapping[Place, str] = {"admin": "/gateway/integrations", "dashboard": "/gateway/dashboard/integrations"}

CUSTOMER_DETAILS = "/gateway/customer"
MOST_FILTER = 200


class ShownPanel(NamedTuple):
    """A panel of an integration that is on."""

    state: IntegrationState
    panel: Panel

    @property
    def place(self) -> Place:
        """Whose pages it is on."""
        return self.panel.place

    @property
    def name(self) -> str:
        """Its name in addresses."""
        return slug_of(self.panel.title)

    @property
    def id(self) -> str:
        """The id of its card."""
        return f"panel-{self.state.name}-{self.name}"

    @property
    def own_path(self) -> str:
        """The page with this panel alone."""
        return f"{BASES[self.place]}/{self.state.name}/panel/{self.name}"

    @property
    def action_path(self) -> str:
        """The page that asks about an action, and runs it."""
        return f"{BASES[self.place]}/{self.state.name}/action/{self.name}"

    @property
    def upload_path(self) -> str:
        """The page that takes a form with a file."""
        return f"{BASES[self.place]}/{self.state.name}/upload/{self.name}"

    @property
    def home(self) -> str:
        """The page that it stands on."""
        if is_own_tab(self.panel):
            return tab_of(self.state, self.panel).path
        if self.place == "dashboard":
            return DASHBOARD
        if self.panel.tab == "billing":
            return TABS["billing"].path
        return CUSTOMER_DETAILS if self.panel.needs_customer else TABS["customers"].path


def place_of(visit: Visit) -> Place:
    """Whose pages a visit is of."""
    return "admin" if visit.audience == "operator" else "dashboard"


def panels_of(catalog: Catalog, place: Place) -> list[ShownPanel]:
    """All panels of a place, in the order of kaixu.yaml."""
    return [
        ShownPanel(state, panel)
        for state in catalog.integrations.values()
        if state.state == "on" and state.integration is not None
        for panel in state.integration.panels
        if panel.place == place
    ]


def tab_of(state: IntegrationState, panel: Panel) -> Tab:
    """The tab of the integration's own that a panel stands in."""
    slug = slug_of(panel.tab)
    return Tab(
        name=f"{panel.place}:{state.name}:{slug}",
        title=panel.tab,
        path=f"{BASES[panel.place]}/{state.name}/{slug}",
        icon="plug",
        group="Integrations",
        keeps_customer=panel.place == "admin",
    )


def own_tabs(catalog: Catalog, place: Place) -> list[Tab]:
    """The tabs of integrations, each once."""
    tabs: dict[str, Tab] = {}
    for one in panels_of(catalog, place):
        if is_own_tab(one.panel):
            tab = tab_of(one.state, one.panel)
            tabs.setdefault(tab.name, tab)
    return list(tabs.values())


def panels_in(catalog: Catalog, place: Place, tab: str, *, needs_customer: bool | None = None) -> list[ShownPanel]:
    """The panels in a tab of the gateway's; those that need a customer, or not, if that is said."""
    return [
        one
        for one in panels_of(catalog, place)
        if one.panel.tab == tab and needs_customer in (None, one.panel.needs_customer)
    ]


def month_of(visit: Visit) -> str:
    """The month that a page shows; the current one for what is no month."""
    given = visit.query.get("month", "")
    return given if MONTH.fullmatch(given) else this_month()


def parameter_of(one: ShownPanel, name: str) -> str:
    """The name of a filter in the address: panels on one page do not share it, except for the month."""
    return name if name == "month" else f"{one.name}.{name}"


def filters_of(visit: Visit, one: ShownPanel) -> dict[str, str]:
    """The values of a panel's filters."""
    chosen = {}
    for each in one.panel.filters:
        given = visit.query.get(parameter_of(one, each.name), "")[:MOST_FILTER].replace("\0", "")
        if each.type == "month":
            given = month_of(visit)
        is_number = given.isascii() and given.isdigit() and len(given) <= 18
        is_choice = given in {choice.value for choice in each.choices}
        if (each.type == "number" and not is_number) or (each.type == "select" and not is_choice):
            given = ""
        chosen[each.name] = given or each.default
    return chosen


def kept_query(visit: Visit, one: ShownPanel) -> dict[str, QueryValue]:
    """What the addresses of a panel keep: the customer, the month, its filters, and the pages of its tables."""
    names = ["month", *(parameter_of(one, each.name) for each in one.panel.filters)]
    kept: dict[str, QueryValue] = {name: visit.query[name][:MOST_FILTER] for name in names if visit.query.get(name)}
    pages = {name: value[:6] for name, value in visit.query.items() if name.startswith(f"{one.id}-")}
    return {"customer_id": visit.customer_id, **kept, **pages}

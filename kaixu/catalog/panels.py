"""The panels of integrations: their checks, and their names in addresses."""

from __future__ import annotations

import inspect
import re
from typing import Any

from kaixu.plugin.errors import PluginError
from kaixu.plugin.operation import Integration
from kaixu.plugin.panel import Panel
from kaixu.plugin.panels import Choice, Filter

#: Tabs of the gateway that take panels, by place; a dashboard has no tab of customers.
CORE_TABS = {"admin": ("customers", "billing"), "dashboard": ("billing",)}

MOST_PANELS = 50
MOST_TITLE = 60
MOST_TIMEOUT_S = 10
LEAST_REFRESH_S = 5
MOST_REFRESH_S = 3600
MOST_FILTERS = 8
MOST_CHOICES = 200

FILTER_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
NOT_WORD = re.compile(r"[^a-z0-9]+")


def slug_of(title: str) -> str:
    """A title in an address: small letters, digits and hyphens."""
    return NOT_WORD.sub("-", title.lower()).strip("-")


def is_own_tab(panel: Panel) -> bool:
    """Whether a panel stands in a tab of its integration's own."""
    return panel.tab not in CORE_TABS[panel.place]


def check_panels(integration: Integration) -> None:
    """Check the panels of an integration. Raises `PluginError`."""
    given: Any = integration.panels
    if not isinstance(given, list | tuple):
        raise PluginError(f"`panels` of integration `{integration.name}` must be a list, not {given!r:.80}")
    if len(given) > MOST_PANELS:
        raise PluginError(f"integration `{integration.name}` has more than {MOST_PANELS} panels")
    taken: dict[tuple[str, str], str] = {}
    titles: dict[tuple[str, str], str] = {}
    for at, panel in enumerate(given):
        if not isinstance(panel, Panel):
            raise PluginError(
                f"`panels[{at}]` of integration `{integration.name}` must be of the type Panel, not {panel!r:.80}"
            )
        try:
            check_panel(panel)
            name = (panel.place, slug_of(panel.title))
            if name in taken:
                raise PluginError("another panel there has this title")
            taken[name] = panel.title
            if is_own_tab(panel):
                shown = titles.setdefault((panel.place, slug_of(panel.tab)), panel.tab)
                if shown != panel.tab:
                    raise PluginError(f"its tab `{panel.tab}` and the tab `{shown}` have one address")
        except PluginError as error:
            raise PluginError(f"panel `{str(panel.title)[:MOST_TITLE]}`: {error}") from None


def check_panel(panel: Panel) -> None:
    """Check one panel. Raises `PluginError`."""
    for field, text in (("title", panel.title), ("tab", panel.tab)):
        if not isinstance(text, str) or len(text) > MOST_TITLE or not slug_of(text) or not text.isprintable():
            raise PluginError(f"its `{field}` must be a text of up to {MOST_TITLE} characters with a letter or digit")
    if panel.place not in CORE_TABS:
        raise PluginError(f"its `place` may be admin or dashboard, not {panel.place!r:.40}")
    if panel.place == "dashboard" and panel.tab == "customers":
        raise PluginError("the dashboard has no tab `customers`")
    if not inspect.iscoroutinefunction(panel.load):
        raise PluginError(f"its `load` must be an `async def` function, not {panel.load!r:.80}")
    try:
        inspect.signature(panel.load).bind(None)
    except TypeError:
        raise PluginError("its `load` must take one argument, the view") from None
    if not is_number(panel.timeout_s) or not 0 < panel.timeout_s <= MOST_TIMEOUT_S:
        raise PluginError(f"its `timeout_s` may be up to {MOST_TIMEOUT_S} s, not {panel.timeout_s!r:.40}")
    every_s = panel.refresh_s
    if every_s is not None and (not is_number(every_s) or not LEAST_REFRESH_S <= every_s <= MOST_REFRESH_S):
        raise PluginError(
            f"its `refresh_s` may be between {LEAST_REFRESH_S} and {MOST_REFRESH_S} s, not {every_s!r:.40}"
        )
    if not isinstance(panel.filters, list | tuple) or len(panel.filters) > MOST_FILTERS:
        raise PluginError(f"its `filters` must be a list of at most {MOST_FILTERS}")
    names = [check_filter(one) for one in panel.filters]
    if len({*names}) < len(names):
        raise PluginError("two of its filters have the same name")


def check_filter(one: Any) -> str:
    """Check one filter; its name. Raises `PluginError`."""
    if not isinstance(one, Filter):
        raise PluginError(f"a filter must be of the type Filter, not {one!r:.80}")
    if not isinstance(one.name, str) or not FILTER_NAME.fullmatch(one.name):
        raise PluginError(f"{one.name!r:.60} cannot be the name of a filter: use small letters, digits and _")
    if one.type not in ("text", "select", "number", "month"):
        raise PluginError(f"filter `{one.name}`: there is no type {one.type!r:.40}")
    if (one.type == "month") != (one.name == "month"):
        raise PluginError("a filter is called `month` where its type is `month`, and only there")
    if len(one.choices) > MOST_CHOICES or not all(isinstance(choice, Choice) for choice in one.choices):
        raise PluginError(f"filter `{one.name}`: its `choices` are up to {MOST_CHOICES} of the type Choice")
    return one.name


def is_number(value: Any) -> bool:
    """Whether a value is a number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)

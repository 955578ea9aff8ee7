"""The theme of the pages, for browsers without scripts: a cookie that holds no more than a word."""

from __future__ import annotations

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.components import Page
from kaixu.web.frames import THEME, THEME_COOKIE
from kaixu.web.page_sessions import safe_path
from kaixu.web.site import Site
from kaixu.web.visits import Visit

YEAR_S = 365 * 24 * 3600
CHOICES = ("system", "light", "dark")


def preference_pages(site: Site) -> list[Route]:
    """The route of the theme."""
    return site.public_page(THEME, set_theme, posts=True)


async def set_theme(visit: Visit) -> Page | Reply:
    """Keep the chosen theme, and go back."""
    back = visit.form.raw("next") or visit.form.raw("path")
    target = safe_path(back, "/", below="/")
    headers = {"location": target, "cache-control": "no-store"}
    if visit.is_post:
        theme = visit.form.get("theme")
        if theme not in CHOICES:
            raise Unprocessable(f"`theme` must be one of {', '.join(CHOICES)}", field="theme")
        age = 0 if theme == "system" else YEAR_S
        headers["set-cookie"] = f"{THEME_COOKIE}={theme}; Path=/; Max-Age={age}; SameSite=Lax"
    return Reply(303, headers, b"")

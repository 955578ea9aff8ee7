"""What holds for the main state of every page of `pages.py`."""

from __future__ import annotations

import pytest

from .conftest import Visit
from .gateway import Gateway
from .page_checks import check_everything
from .pages import PAGES, PageState
from .visiting import open_page

MAIN = [page for page in PAGES if page.is_main]


@pytest.mark.parametrize("page", MAIN, ids=lambda page: page.name)
def test_every_page_is_accessible_fits_and_shows_the_focus(visit: Visit, gateway: Gateway, page: PageState) -> None:
    check_everything(open_page(visit(gateway, page.role), gateway, page), page)


@pytest.mark.parametrize("page", [page for page in MAIN if page.after is None], ids=lambda page: page.name)
def test_every_page_says_the_same_without_scripts(visit: Visit, gateway: Gateway, page: PageState) -> None:
    visitor = open_page(visit(gateway, page.role, scripts=False), gateway, page)
    assert visitor.page.locator("h1").count() == 1
    assert visitor.main.inner_text().strip()

"""The further states of pages: empty, wrong, asking, with a drawer open. All of them, in full, with `make slow`.

In `make test` every sixth of them is looked at, on a phone: which, follows from their names.
"""

from __future__ import annotations

from zlib import crc32

import pytest

from tests.support.size import SLOW

from .browser import PHONE
from .conftest import Visit
from .gateway import Gateway
from .page_checks import check_everything, check_width
from .pages import PAGES, PageState
from .visiting import open_page

STATES = [page for page in PAGES if not page.is_main and (SLOW or crc32(page.name.encode()) % 6 == 0)]


@pytest.mark.parametrize("page", STATES, ids=lambda page: page.name)
def test_every_state_is_accessible_and_fits(visit: Visit, gateway: Gateway, page: PageState) -> None:
    if SLOW:
        check_everything(open_page(visit(gateway, page.role), gateway, page), page)
    else:
        check_width(open_page(visit(gateway, page.role, width=PHONE), gateway, page), page)

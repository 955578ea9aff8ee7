"""What holds for a page in any state, as functions: which pages are checked how fully, `test_pages` and others decide."""

from __future__ import annotations

from tests.support.size import SLOW

from .accessibility import CONTRAST, assert_accessible
from .browser import DESKTOP, HEIGHTS, PHONE, Visitor
from .layout import assert_focus_visible, assert_layout
from .pages import PageState
from .snapshots import assert_snapshot


def check_everything(visitor: Visitor, page: PageState) -> None:
    """Accessible and within the window at both widths and in both colour schemes, read as before, focus visible."""
    if page.snapshot:
        assert_snapshot(visitor.main, page.name)
    for width in (DESKTOP, PHONE):
        visitor.page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
        if SLOW or width == PHONE:  # a phone has the same elements, and a desk's are looked at below in dark
            assert_accessible(visitor.page)
        if not page.is_plain:  # its sizes are the browser's own
            assert_layout(visitor.page)
    if not page.is_plain:
        visitor.page.emulate_media(color_scheme="dark")
        assert_accessible(visitor.page, CONTRAST)
    visitor.page.set_viewport_size({"width": DESKTOP, "height": HEIGHTS[DESKTOP]})
    assert_focus_visible(visitor)


def check_width(visitor: Visitor, page: PageState) -> None:
    """Accessible, and within the window, as wide as it is now."""
    assert_accessible(visitor.page)
    if not page.is_plain:  # its sizes are the browser's own
        assert_layout(visitor.page)

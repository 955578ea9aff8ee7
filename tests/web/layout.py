"""What must hold for the layout of every page, at every width."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from .browser import Visitor

#: How the focused element looks, whether it would look so without the focus, and whether it is in view and on top.
FOCUS = """
() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const look = () => {
    const style = getComputedStyle(element);
    const outline = style.outlineStyle === 'none' || parseFloat(style.outlineWidth) === 0 ? 'none'
      : [style.outlineStyle, style.outlineWidth, style.outlineColor].join(' ');
    return [outline, style.boxShadow, style.borderColor, style.backgroundColor, style.textDecoration].join(' | ');
  };
  const box = element.getBoundingClientRect();
  const focused = look();
  const left = Math.max(box.left, 0), right = Math.min(box.right, innerWidth);
  const top = Math.max(box.top, 0), bottom = Math.min(box.bottom, innerHeight);
  const points = [[0.5, 0.5], [0.1, 0.5], [0.9, 0.5], [0.5, 0.1], [0.5, 0.9]].map(([x, y]) =>
    document.elementFromPoint(left + (right - left) * x, top + (bottom - top) * y));
  const isOnTop = right > left && bottom > top && points.some((hit) =>
    hit && (element.contains(hit) || hit.contains(element) || [...(element.labels || [])].some((label) => label.contains(hit))));
  const html = element.outerHTML.slice(0, 120);
  element.blur();
  const unfocused = look();
  element.focus({preventScroll: true});
  return {html, isOnTop, isSeen: focused !== unfocused, index: [...document.querySelectorAll('*')].indexOf(element)};
}
"""


@cache
def script() -> str:
    """The checks that run in the page."""
    return Path(__file__).with_name("layout.js").read_text(encoding="utf-8").partition("\n")[2]


def assert_layout(page: Page) -> None:
    """Nothing is wider than the window, targets have 24 px or more, no two of them overlap, and ids are unique.

    What lies in a scroll container may be wider; links in a text may be smaller, as WCAG 2.5.8 has it.
    """
    problems: list[str] = page.evaluate(script())
    assert not problems, f"{page.url}\n" + "\n".join(problems)


def assert_focus_visible(visitor: Visitor, *, most: int = 80) -> None:
    """Whatever Tab reaches shows that it has the focus, is in view, and is not covered; the first `most` of them."""
    visitor.page.evaluate("document.activeElement?.blur()")
    seen: set[int] = set()
    for _ in range(most):
        visitor.press("Tab")
        focus: dict[str, Any] | None = visitor.page.evaluate(FOCUS)
        if focus is None or focus["index"] in seen:
            return
        seen.add(focus["index"])
        assert focus["isSeen"], f"{visitor.path}: one does not see that this has the focus: {focus['html']}"
        assert focus["isOnTop"], f"{visitor.path}: this has the focus, and is covered or out of view: {focus['html']}"

"""axe-core on the page that a visitor sees."""

from __future__ import annotations

from functools import cache
from typing import Any

from playwright.sync_api import Page

from tests.support.aimock import MODULES

AXE = MODULES / "node_modules/axe-core/axe.min.js"
FAILS = ("serious", "critical")

#: Rules of WCAG 2.0 to 2.2, levels A and AA, and of good practice.
ALL = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
#: Only what depends on the colours.
CONTRAST = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}


@cache
def axe_source() -> str:
    """axe-core's script."""
    assert AXE.exists(), "axe-core is missing: make test, or npm ci in tests/node"
    return AXE.read_text(encoding="utf-8")


def axe_results(page: Page, rules: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What axe found: `violations`, and `incomplete` for what it could not decide.

    The script comes through the browser's debugging protocol, which the content security policy does not bind.
    """
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(axe_source() + "; undefined")
    found: dict[str, list[dict[str, Any]]] = page.evaluate(
        "async (options) => { const found = await axe.run(document, options);"
        " return {violations: found.violations, incomplete: found.incomplete}; }",
        {"runOnly": rules, "resultTypes": ["violations", "incomplete"]},
    )
    return found


def described(rule: dict[str, Any]) -> str:
    """A rule and where it is broken."""
    places = [f"    {' '.join(map(str, node['target']))}: {node['html'][:160]}" for node in rule["nodes"][:5]]
    more = [f"    and {len(rule['nodes']) - 5} more"] if len(rule["nodes"]) > 5 else []
    return "\n".join([f"{rule['impact']}: {rule['id']}: {rule['help']}", *places, *more])


def assert_accessible(page: Page, rules: dict[str, Any] = ALL) -> list[str]:
    """No serious or critical violation on the page. Returns where axe could not decide about contrast."""
    found = axe_results(page, rules)
    broken = [rule for rule in found["violations"] if rule["impact"] in FAILS]
    assert not broken, f"{page.url}\n" + "\n".join(map(described, broken))
    return [described(rule) for rule in found["incomplete"] if rule["id"] == "color-contrast"]

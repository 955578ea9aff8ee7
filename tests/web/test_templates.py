"""Rules for templates, scripts and the stylesheet, which hold for every file of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kaixu.web.static_files import FOLDER
from tests.web.gallery import frame

TEMPLATES = sorted((FOLDER.parent / "templates").rglob("*.html"))
SCRIPTS = sorted(FOLDER.glob("*.js"))

#: What no template may have: it would not work under the policy, or it would be a way around it.
FORBIDDEN = {
    "inline style": r"\sstyle\s*=",
    "style element": r"<style\b",
    "inline handler": r"\son\w+\s*=",
    "code in an attribute of htmx": r"\bhx-on\b|\bjs:|javascript:",
    "filter of a trigger, which is code": r"hx-trigger=\"[^\"]*\[",
    "script without nonce": r"<script\b(?![^>]*\bnonce=\"\{\{ frame\.nonce \}\}\")",
    "inline script": r"<script\b[^>]*>(?!</script>)",
    "address of elsewhere": r"\b(?:src|href|action|hx-get)=[\"'](?:https?:)?//",
    "text that is not escaped": r"\|\s*safe\b|autoescape false|Markup\(",
    "htmx with the nonce of all within": r"hx-nonce:inherited",
}

#: What no script may have: it makes elements or code of text.
FORBIDDEN_IN_SCRIPTS = r"\.innerHTML|\.outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(\"style|localStorage|sessionStorage"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_templates_have_nothing_that_the_policy_forbids(path: Path, what: str) -> None:
    assert not (found := re.search(FORBIDDEN[what], path.read_text())), found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_make_no_elements_of_text_and_load_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text()
    assert not (found := re.search(FORBIDDEN_IN_SCRIPTS, text)), found
    assert all(
        one.startswith("./") for one in re.findall(r"from \"([^\"]+)\"|import \"([^\"]+)\"", text) for one in one if one
    )


def test_every_named_icon_is_in_the_sprite() -> None:
    ids = set(re.findall(r'<symbol id="([\w-]+)"', (FOLDER / "icons.svg").read_text()))
    named = {tab.icon for group in frame().navigation for tab in group.tabs}
    for path in [*TEMPLATES, *(FOLDER.parent).rglob("*.py")]:
        text = path.read_text()
        named |= set(re.findall(r"\bicon\(\"([\w-]+)\"", text)) | set(re.findall(r"\bicon=\"([\w-]+)\"", text))
    named |= {
        "monitor",
        "sun",
        "moon",
        "arrow-up",
        "arrow-down",
        "circle-check",
        "triangle-alert",
        "circle-x",
        "info",
        "ban",
    }
    assert named - {""} <= ids, named - ids


def tokens() -> dict[str, tuple[str, str]]:
    """The colours of the stylesheet: light and dark."""
    text = (FOLDER / "gateway.css").read_text()
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", text)
    single = re.findall(r"--([\w-]+): (#\w{6});", text)
    return {name: (light, dark) for name, light, dark in pairs} | {name: (one, one) for name, one in single}


def luminance(colour: str) -> float:
    """The relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


GROUNDS = ("ground", "surface", "raised", "sunken", "hover")
PAIRS = [
    *[(text, ground, 4.5) for text in ("ink", "ink-soft", "accent", "bad") for ground in (*GROUNDS, "accent-soft")],
    *[(state, f"{state}-soft", 4.5) for state in ("good", "warn", "bad", "info", "off")],
    *[(state, ground, 4.5) for state in ("good", "warn", "bad", "info", "off") for ground in ("surface", "sunken")],
    *[(text, f"{state}-soft", 4.5) for text in ("ink", "ink-soft", "accent") for state in ("good", "warn", "bad", "info", "off")],
    *[("on-fill", fill, 4.5) for fill in ("accent-fill", "accent-fill-hover", "bad-fill")],
    *[("line-strong", ground, 3.0) for ground in ("surface", "ground", "sunken")],
    *[("accent", ground, 3.0) for ground in GROUNDS],
]  # fmt: skip


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_all_text_has_its_contrast_in_both_themes(theme: int) -> None:
    colours = tokens()
    poor = [
        f"{one} on {other}: {found:.2f}"
        for one, other, least in PAIRS
        if (found := contrast(colours[one][theme], colours[other][theme])) < least
    ]
    assert not poor


def test_all_tokens_are_used_and_all_used_ones_exist() -> None:
    text = (FOLDER / "gateway.css").read_text()
    declared = set(re.findall(r"^\s+--([\w-]+):", text, re.MULTILINE))
    charts = set(re.findall(r"--([\w-]+):", (FOLDER / "chart.css").read_text()))
    used = set(re.findall(r"var\(--([\w-]+)\)", text))
    assert used <= declared | charts
    assert declared <= used

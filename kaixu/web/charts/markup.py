"""SVG elements as text: attributes escaped, numbers short, nothing that XML forbids."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

#: What XML cannot hold: control characters, halves of surrogate pairs, and two more.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text_of(value: str) -> Markup:
    """Text for an element or an attribute."""
    return escape(FORBIDDEN.sub("\ufffd", value))


def number(value: float, digits: int = 2) -> str:
    """A coordinate: rounded, without zeros at its end."""
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def percent(part: float) -> str:
    """A part of the width."""
    return number(part * 100, 3) + "%"


def element(name: str, *children: Markup, **attributes: str | float | None) -> Markup:
    """An element. Names of attributes: `class_` is class, `aria_label` is aria-label; None is left out."""
    texts = [
        f' {attribute_name(key)}="{text_of(value if isinstance(value, str) else number(value))}"'
        for key, value in attributes.items()
        if value is not None
    ]
    inside = "".join(children)
    return Markup(f"<{name}{''.join(texts)}>{inside}</{name}>")  # noqa: S704 - all of it was escaped above


def attribute_name(key: str) -> str:
    """The name of an attribute that is written as a name of Python."""
    if key in ("viewBox", "preserveAspectRatio"):
        return key
    return key.rstrip("_").replace("_", "-")

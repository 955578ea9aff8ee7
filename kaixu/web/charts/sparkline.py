"""A small line for a row of a table or a statistic."""

from __future__ import annotations

from markupsafe import Markup

from kaixu.web.components import Sparkline

from .figures import exact
from .markup import element, number, text_of

#: The drawing is stretched to its place; its strokes are not.
WIDTH, HEIGHT, MARGIN = 100, 24, 3


def sparkline_svg(sparkline: Sparkline) -> Markup:
    """The values as a line above zero, the last one as a dot. Raises `ValueError` for a value that is not finite."""
    values = [float(exact(value)) for value in sparkline.values]
    low, high = min([0.0, *values]), max([0.0, *values])
    room = WIDTH - 2 * MARGIN
    places = [
        (
            MARGIN + (room * index / (len(values) - 1) if len(values) > 1 else room),
            HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * ((value - low) / (high - low) if high > low else 0),
        )
        for index, value in enumerate(values)
    ]
    texts = [f"{number(x)} {number(y)}" for x, y in places]
    shapes = [element("title", text_of(sparkline.label))]
    if len(texts) > 1:
        shapes.append(element("path", class_="line series-1", d="M" + "L".join(texts)))
    if texts:
        shapes.append(element("path", class_="sparkline-last series-1", d=f"M{texts[-1]}h0"))
    return element(
        "svg", *shapes, class_="sparkline", viewBox=f"0 0 {WIDTH} {HEIGHT}", preserveAspectRatio="none",
        role="img", aria_label=sparkline.label,
    )  # fmt: skip

"""`make screens`: a picture of each page of pages.py, at a desk and on a phone, light and dark, into docs/screens.

`python -m tests.web.screens customers usage` takes only pages whose names contain one of these words. Pictures of
main pages are committed; the others are in `docs/screens/all`, which git ignores.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from .browser import DESKTOP, HEIGHTS, PHONE, Scheme, Visitor, new_context
from .gateway import Gateway
from .pages import PAGES, PageState
from .stage import browsing, seeded_gateway
from .visiting import log_in, open_page

FOLDER = Path(__file__).parents[2] / "docs/screens"
WIDTHS = {"desktop": DESKTOP, "phone": PHONE}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")

#: A picture is at most so large, and so high.
MOST_BYTES = 150 * 1024
HIGHEST = {DESKTOP: 1600, PHONE: 1688}


def smaller(picture: bytes, most_bytes: int = MOST_BYTES) -> bytes:
    """A picture with fewer colours, and cut at the bottom where that is not enough."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    while True:
        for colours in (256, 96, 32):
            out = io.BytesIO()
            image.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
            if out.tell() <= most_bytes:
                return out.getvalue()
        image = image.crop((0, 0, image.width, image.height * 3 // 4))


def take(browser: Browser, gateway: Gateway, page: PageState, width: int, scheme: Scheme) -> tuple[bytes, list[str]]:
    """A picture of a page, and what its browser complained about."""
    context = new_context(browser, width=width, scheme=scheme, scripts=True)
    try:
        log_in(context, gateway, page.role)
        visitor = Visitor(context, gateway.url)
        open_page(visitor, gateway, page)
        visitor.flush()
        # The window grows with a long page, so that what stays in view is where it belongs.
        height = visitor.page.evaluate("document.documentElement.scrollHeight")
        lowest = HEIGHTS[width]
        visitor.page.set_viewport_size({"width": width, "height": max(lowest, min(height, HIGHEST[width]))})
        picture = visitor.page.screenshot(animations="disabled", caret="hide")
        return smaller(picture), visitor.complaints
    finally:
        context.close()


def main(words: list[str]) -> int:
    """Take the pictures; how many pages had errors."""
    wanted = [page for page in PAGES if not words or any(word in page.name for word in words)]
    failed = 0
    with seeded_gateway() as gateway, browsing() as browser:
        for page in wanted:
            folder = FOLDER if page.is_main else FOLDER / "all"
            folder.mkdir(parents=True, exist_ok=True)
            for size, width in WIDTHS.items():
                for scheme in SCHEMES:
                    path = folder / f"{page.name}-{size}-{scheme}.png"
                    try:
                        picture, complaints = take(browser, gateway, page, width, scheme)
                    except Exception as error:
                        complaints = [str(error)]
                    else:
                        path.write_bytes(picture)
                        print(f"{path.relative_to(FOLDER.parent)}: {len(picture) // 1024} kB")
                    failed += bool(complaints)
                    for complaint in complaints:
                        print(f"{page.name}, {size}, {scheme}: {complaint}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)

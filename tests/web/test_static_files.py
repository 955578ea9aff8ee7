"""The static files: their addresses, their headers, their size, and what is vendored among them."""

from __future__ import annotations

import gzip
import re
from hashlib import sha256

import brotli
import pytest
from quart import Quart

from kaixu.web.rendering import render_page
from kaixu.web.static_files import FOLDER, PREFIX, accepted_encodings, static_files, static_url, version
from tests.api.admin.conftest import app, services

from . import gallery

__all__ = ["app", "services"]  # fixtures

#: All that a first visit loads, compressed: the page, styles, scripts and icons.
MOST_BYTES = 60_000


async def test_a_file_is_kept_for_a_year_under_the_hash_of_all(app: Quart) -> None:
    reply = await app.test_client().get(static_url("gateway.css"))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/css; charset=utf-8"
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert await reply.get_data() == (FOLDER / "gateway.css").read_bytes()


async def test_the_address_of_another_release_is_answered_but_not_kept(app: Quart) -> None:
    reply = await app.test_client().get(f"{PREFIX}/000000000000/gateway.js")
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip;q=0.5", "gzip"), ("identity", None), ("", None)],
)
async def test_files_are_compressed_as_the_client_takes_them(app: Quart, accept: str, encoding: str | None) -> None:
    reply = await app.test_client().get(static_url("vendor/htmx.min.js"), headers={"accept-encoding": accept})
    body = await reply.get_data()
    decoded = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[encoding](body)
    assert reply.headers.get("content-encoding") == encoding
    assert "accept-encoding" in reply.headers["vary"].lower()
    assert decoded == (FOLDER / "vendor/htmx.min.js").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "nothing.css",
        "vendor/SOURCES",
        "vendor/LICENSE-htmx",
        "../static_files.py",
        "../../web/static_files.py",
        "..%2fstatic_files.py",
        "%2e%2e/static_files.py",
        "/etc/passwd",
        "vendor/../gateway.css",
        "",
    ],
)
async def test_nothing_but_the_files_is_served(app: Quart, name: str) -> None:
    reply = await app.test_client().get(f"{PREFIX}/{version()}/{name}")
    assert reply.status_code == 404
    assert b"import" not in await reply.get_data()


async def test_the_icon_of_the_site_is_a_drawing(app: Quart) -> None:
    reply = await app.test_client().get("/favicon.ico")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/svg+xml")


def test_an_unknown_name_has_no_address() -> None:
    with pytest.raises(KeyError):
        static_url("nothing.css")


def test_encodings_with_quality_zero_are_not_taken() -> None:
    assert accepted_encodings("gzip; q=0, br;q=1.0") == {"br"}


def test_vendored_files_are_those_that_are_named_with_hash_and_licence() -> None:
    lines = [line.split() for line in (FOLDER / "vendor/SOURCES").read_text().splitlines() if not line.startswith("#")]
    for name, digest, *words in lines:
        assert sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == digest, name
        licences = re.findall(r"\((LICENSE-\S+)\)", " ".join(words))
        assert licences, name
        assert all((FOLDER / "vendor" / one).is_file() for one in licences)
    named = {name for name, *_ in lines}
    assert {path.name for path in (FOLDER / "vendor").glob("*.js")} < named


def test_a_first_visit_is_small() -> None:
    page, frame = gallery.pages()["overview"]
    html = render_page(page, frame)
    names = set(re.findall(rf"{PREFIX}/{version()}/([\w./-]+)", html))
    files = static_files()
    sources = [path.read_text(encoding="utf-8") for path in FOLDER.parent.rglob("*.py")]
    modules = [path.read_text(encoding="utf-8") for path in FOLDER.glob("*.js")]
    imported = {name for text in modules for name in re.findall(r'(?:from |import\()"\./(\w+\.js)"', text)}
    of_single_pages = ({name for text in sources for name in re.findall(r'"(\w+\.js)"', text)} | imported) - names
    assert set(files) == names | of_single_pages, "a file that no page loads, or that none preloads"
    size = sum(len(files[name].brotli) for name in names) + len(brotli.compress(html.encode()))
    assert size < MOST_BYTES, size

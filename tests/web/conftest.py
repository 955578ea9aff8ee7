"""A browser for each test process, gateways with seeded data, and visitors: see README.md beside this file."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from .blocking import run
from .browser import DESKTOP, Chromium, Scheme, Visitor, new_context
from .gateway import Gateway, config_of, copy_of, execute, running
from .pages import Role
from .seed import Seed
from .seeding import seeded
from .vendor import PageVendor, page_vendor
from .visiting import log_in

SEEDED = "kaixu_web_seed"

Visit = Callable[..., Visitor]
VISITORS = pytest.StashKey[list[Visitor]]()


def visitors_of(item: pytest.Item) -> list[Visitor]:
    """The visitors that a test has made."""
    return item.stash.setdefault(VISITORS, [])


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test fails if a browser of its own saw an error; a screenshot is taken of where a failed one stood."""
    try:
        result = yield
        for visitor in visitors_of(pyfuncitem):
            visitor.assert_clean()
        return result
    except Exception:
        for number, visitor in enumerate(visitors_of(pyfuncitem)):
            picture = pyfuncitem.config.rootpath / ".pytest_cache/screens" / f"{pyfuncitem.name}-{number}.png"
            visitor.page.screenshot(path=picture, full_page=True)
            told = "\n".join([f"at {visitor.page.url}", f"picture: {picture}", *visitor.complaints])
            pyfuncitem.add_report_section("call", "browser", told)
        raise


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The browser of this process."""
    chromium = Chromium()
    yield chromium
    chromium.stop()


@pytest.fixture
def browser(chromium: Chromium) -> Iterator[Browser]:
    """The browser, in use by this test: its fixtures and itself must be plain functions."""
    with chromium.in_use() as browser:
        yield browser


@pytest.fixture(scope="session")
def vendor() -> Iterator[PageVendor]:
    """What answers the calls of all gateways."""
    with page_vendor() as vendor:
        yield vendor


@pytest.fixture(scope="session")
def seed(server_dsn: str, pristine: str, vendor: PageVendor, tmp_path_factory: pytest.TempPathFactory) -> Seed:
    """The seeded database, as a template that others are copied from."""
    run(execute(server_dsn, f"drop database if exists {SEEDED}", f"create database {SEEDED} template {pristine}"))
    return seeded(server_dsn, SEEDED, tmp_path_factory.mktemp("seed"), config_of(vendor.url))


@pytest.fixture(scope="session")
def gateway(
    server_dsn: str, seed: Seed, vendor: PageVendor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway that all tests read from. Who changes something that another test may look at takes `own_gateway`."""
    with (
        copy_of(server_dsn, SEEDED) as dsn,
        running(tmp_path_factory.mktemp("web"), dsn, config_of(vendor.url), seed) as gateway,
    ):
        yield gateway


@pytest.fixture
def own_gateway(server_dsn: str, seed: Seed, vendor: PageVendor, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with a copy of the seeded database, for this test alone."""
    with (
        copy_of(server_dsn, SEEDED) as dsn,
        running(tmp_path / "home", dsn, config_of(vendor.url), seed) as gateway,
    ):
        yield gateway


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Visit]:
    """Make visitors: `visit(gateway, "operator", width=390, scheme="dark", scripts=False)`.

    `role` may be "public", "customer", or an operator's: "owner" (also called "operator") or "viewer"; `customer` names
    one of the seed's.
    """
    with ExitStack() as held:

        def make(
            gateway: Gateway,
            role: Role | str = "public",
            *,
            width: int = DESKTOP,
            scheme: Scheme = "light",
            scripts: bool = True,
            customer: str = "",
        ) -> Visitor:
            context = new_context(browser, width=width, scheme=scheme, scripts=scripts)
            held.callback(context.close)
            log_in(context, gateway, role, customer)
            visitor = Visitor(context, gateway.url, scripts=scripts)
            visitors_of(request.node).append(visitor)
            return visitor

        yield make


@pytest.fixture
def operator(visit: Visit, gateway: Gateway) -> Visitor:
    """An owner at the shared gateway, at a desk."""
    return visit(gateway, "operator")


@pytest.fixture
def customer(visit: Visit, gateway: Gateway) -> Visitor:
    """A customer at the shared gateway, at a desk."""
    return visit(gateway, "customer")


@pytest.fixture
def public(visit: Visit, gateway: Gateway) -> Visitor:
    """Somebody without a session, at the shared gateway, at a desk."""
    return visit(gateway, "public")

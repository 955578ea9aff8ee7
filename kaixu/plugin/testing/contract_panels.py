"""The contract tests of panels: those that have examples are loaded as a page would, in every way that can go wrong."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import ClassVar

import msgspec

from kaixu.plugin.access import Caller
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.operation import Integration
from kaixu.plugin.panel import Panel

from .checks import must
from .contract_rules import is_clear, told_type
from .contract_session import PATIENCE_S, ChangedWire, Points, Session, error_text
from .contract_vendors import FAILURES, NONSENSE, Change, at_least, with_body
from .example import Example
from .failures import CapturedLog
from .tables import RealStatements
from .views import FakeView, load_panel
from .watch import other_tasks, secrets_of_options, watching
from .wire import FakeWire

NOT_WORD = re.compile(r"[^a-z0-9]+")

#: A time limit for a panel whose vendor never answers.
SHORT_S = 0.05

READERS = {
    "admin": Caller("operator", "owner", email="operator@example.com"),
    "dashboard": Caller("session", "owner", "last", "customer@example.com"),
}


class Loaded(msgspec.Struct):
    """How a load has ended: with parts, or an error. `notes`: what it did besides; `log`: what it logged."""

    view: FakeView
    parts: object = None
    error: BaseException | None = None
    notes: list[str] = []
    log: list[str] = []


def failures_of(number: int) -> dict[str, Change]:
    """How the vendor can fail at the request of a number, from 1."""
    failures = {what: at_least(number, failure) for what, failure in FAILURES.items()}
    return failures | {f"is answered with {body!r}": with_body(number, body) for body in NONSENSE}


class PanelTests(ABC):
    """The tests of panels, a part of `IntegrationContract`."""

    integration: ClassVar[Integration]
    secret: ClassVar[str]

    # Tests

    def test_every_panel_of_an_example_can_be_shown(self) -> None:
        async def show(one: Session, panel: Panel, example: Example) -> None:
            await one.reset()
            await one.prepare(example)
            loaded = await self.load(one, panel, example)
            if loaded.error is not None:
                raise AssertionError(f"it fails: {error_text(loaded.error)}") from loaded.error
            self.check_loaded(loaded)

        self.each_panel(show)

    def test_a_panel_whose_vendor_fails_says_so(self) -> None:
        async def fail(one: Session, panel: Panel, example: Example) -> None:
            await one.reset()
            await one.prepare(example)
            count = len((await self.load(one, panel, example)).view.vendor.requests)
            for number in range(1, count + 1):
                for what, change in failures_of(number).items():
                    loaded = await self.load(one, panel, example, answer=change)
                    self.check_loaded(loaded)
                    must(
                        loaded.error is None or is_clear(loaded.error),
                        f"when request {number} {what}, it raises {told_type(loaded.error)}: read answers with care, "
                        "and raise one of the errors of kaixu.plugin",
                    )

        self.each_panel(fail)

    def test_a_panel_that_is_slow_is_given_up(self) -> None:
        async def wait(one: Session, panel: Panel, example: Example) -> None:
            await one.reset()
            await one.prepare(example)
            points = Points()
            await self.load(one, panel, example, points=points)
            for at in range(1, points.passed + 1):
                points = Points(at)
                slow = msgspec.structs.replace(panel, timeout_s=SHORT_S)
                running = asyncio.ensure_future(self.load(one, slow, example, points=points))
                await asyncio.wait([running], timeout=PATIENCE_S)
                points.goes_on.set()  # else one that ignores its time would never end
                loaded = await running
                if points.reached.is_set():
                    how = "it answers" if loaded.error is None else error_text(loaded.error)
                    must(isinstance(loaded.error, TimeoutError), f"it goes on although its time is over: {how}")

        self.each_panel(wait)

    def test_a_panel_of_another_customer_does_not_show_this_one_s_rows(self) -> None:
        async def intrude(one: Session, panel: Panel, example: Example) -> None:
            if panel.place == "admin" and not panel.needs_customer:
                return
            await one.reset()
            alone = await self.load(one, panel, example, customer_id=2)
            await one.reset()
            await one.prepare(example)
            other = await self.load(one, panel, example, customer_id=2)
            must(
                alone.parts == other.parts,
                "for another customer it shows what belongs to this one: let every statement say "
                "`where customer_id = $1`, with view.customer_id",
            )

        self.each_panel(intrude)

    # How they run

    def panels(self) -> dict[str, list[Panel]]:
        """The panels by the name of their examples; a title may stand on both pages."""
        named: dict[str, list[Panel]] = {}
        for panel in self.integration.panels:
            slug = NOT_WORD.sub("-", panel.title.lower()).strip("-")
            named.setdefault(f"{self.integration.name}.panels.{slug}", []).append(panel)
        return named

    @abstractmethod
    def examples_of(self, name: str) -> Sequence[Example]:
        """The examples of one function, or panel."""

    @abstractmethod
    def each(
        self, work: Callable[[Session, str, Example], Awaitable[None]], *, only: Collection[str] | None = None
    ) -> None:
        """Run `work` with each example, in tables of its own."""

    def each_panel(self, work: Callable[[Session, Panel, Example], Awaitable[None]]) -> None:
        """Run `work` with each example of each panel."""
        named = self.panels()

        async def of_name(one: Session, name: str, example: Example) -> None:
            for panel in named[name]:
                await work(one, panel, example)

        with_examples = [name for name in named if self.examples_of(name)]
        if with_examples:
            self.each(of_name, only=with_examples)

    async def load(
        self,
        one: Session,
        panel: Panel,
        example: Example,
        *,
        customer_id: int | None = 1,
        answer: Change | None = None,
        points: Points | None = None,
    ) -> Loaded:
        """Load a panel as a page would."""
        wire = FakeWire(*example.wire)
        wire = wire if answer is None else ChangedWire(wire, answer)
        view = FakeView(
            options=one.options if example.options is None else example.options,
            customer_id=customer_id,
            caller=example.caller or READERS[panel.place],
            filters=example.filters,
            wire=wire,
            secrets={**example.secrets, **one.secrets.get(customer_id or 0, {})},
            settings={**example.settings, **one.settings.get(customer_id or 0, {})},
            books=example.books,
            balance=example.balance,
        )
        points = points or Points()
        wire.pause = points.pause
        view.database.connection = one.connection
        if one.tables is not None and one.connection is not None:
            view.database.real = RealStatements(one.tables, one.connection, points.pause)
        options, before = repr(view.options), asyncio.all_tasks()
        loaded = Loaded(view, notes=[], log=[])
        with CapturedLog() as log, watching() as watch:
            try:
                loaded.parts = await load_panel(one.integration, panel, view)
            except AssertionError:
                raise
            except Exception as error:  # noqa: BLE001 - the test checks its type
                loaded.error = error
        for _ in range(3):
            await asyncio.sleep(0)
        if tasks := other_tasks(before):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=PATIENCE_S)
            loaded.notes.append("it leaves a task behind, which runs after the load")
        if wire.open or wire.abandoned:
            loaded.notes.append("it leaves an answer open: read it inside `async with view.wire.send(…)`")
        if repr(view.options) != options:
            loaded.notes.append("it changes its options, which all calls share")
        loaded.notes += watch.seen
        loaded.log = log.lines
        return loaded

    def check_loaded(self, loaded: Loaded) -> None:
        """What holds after every load."""
        must(not loaded.notes, "; ".join(loaded.notes))
        secrets = {self.secret, *loaded.view.customer_secrets.values.values(), *secrets_of_options(loaded.view.options)}
        shown = "" if loaded.parts is None else msgspec.json.encode(loaded.parts).decode()
        told = [str(loaded.error)] if isinstance(loaded.error, KaixuError) else []
        for what, texts in (("the page", [shown]), ("the error", told), ("the log", loaded.log)):
            hidden = any(secret in text for text in texts for secret in secrets if secret)
            must(not hidden, f"a secret is shown in {what}")

"""The contract tests of integrations: subclass `IntegrationContract`, give an example of each function, run pytest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from kaixu.plugin.access import Key
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.job import Again
from kaixu.plugin.operation import Integration, Job
from kaixu.plugin.options import Options
from kaixu.plugin.webhook import Webhook

from .checks import must
from .contract_panels import PanelTests
from .contract_rules import is_clear, keys_of, recognizable, texts_of, told_type
from .contract_session import (
    PATIENCE_S,
    SIGNED_AT,
    Outcome,
    Points,
    Session,
    error_text,
    lower,
    session,
    stopped,
    verified,
    webhook_named,
)
from .contract_vendors import (
    BROKEN,
    ENDLESS_BYTES,
    FAILURES,
    NONSENSE,
    Change,
    Endless,
    at_least,
    with_body,
    with_chunks,
)
from .example import Example
from .integrations import check_integration, offered_by
from .tables import tables_of
from .watch import secrets_of_options

#: At how many places of one example a run is stopped at most.
MOST_STOPS = 12

#: A time limit for a handler that waits for a vendor that never answers.
SHORT_S = 0.05


class IntegrationContract(PanelTests):
    """The contract of integrations. Define the integration, and how each of its functions succeeds.

    Every example is run as it is, with a vendor that fails or sends nonsense, cancelled at each place where it waits,
    twice, and for another customer. The tables are real ones, in a Postgres of the kit.

    `options`: its section of kaixu.yaml, if it needs one. `changes_on_repeat`: columns, "table.column", that may change
    when a job runs twice, such as a number of tries. `may_arrive_twice`: URLs (how they begin) of requests that the
    vendor recognizes by themselves.
    """

    integration: ClassVar[Integration]
    options: ClassVar[Options | None] = None
    secret: ClassVar[str] = "sk-secret-of-the-operator"  # noqa: S105
    changes_on_repeat: ClassVar[Collection[str]] = ()
    may_arrive_twice: ClassVar[Collection[str]] = ()

    def examples(self) -> Mapping[str, Example | Sequence[Example]]:
        """For each operation, job and schedule, by its name, how it succeeds; one or several ways.

        That of a webhook is called like its job: "<integration>.webhooks.<name>". Reactions and panels that have
        examples are driven, too: "<integration>.reactions.<event>", whose body may be a `Crossing`, and
        "<integration>.panels.<title>", in small letters with hyphens.
        """
        raise NotImplementedError("return an example of each operation, job, webhook and schedule here")

    # Tests

    def test_everything_that_it_declares_can_be_served(self) -> None:
        check_integration(self.integration)
        given, declared = set(self.examples()), set(self.names())
        further = {*self.reactions(), *self.panels()}
        missing, unknown = sorted(declared - given), sorted(given - declared - further)
        must(not missing, f"`examples` has none for {', '.join(missing)}")
        must(not unknown, f"`examples` has {', '.join(unknown)}, which the integration does not declare")

    def test_every_example_succeeds_and_leaves_nothing_behind(self) -> None:
        async def succeed(one: Session, name: str, example: Example) -> None:
            for turn in ("", "the second time "):
                await one.reset()
                outcome = await one.run(name, example, await one.prepare(example))
                if outcome.error is not None and not self.may_pause(name, outcome.error):
                    raise AssertionError(f"{turn}it fails: {error_text(outcome.error)}") from outcome.error
                self.check(outcome)

        self.each(succeed)

    def test_a_vendor_that_fails_comes_out_as_an_error(self) -> None:
        async def fail(one: Session, name: str, example: Example) -> None:
            for number in await self.requests_of(one, name, example):
                if number in example.may_fail:
                    continue
                for what, failure in FAILURES.items():
                    outcome = await self.changed(one, name, example, at_least(number, failure))
                    self.check(outcome)
                    self.must_be_an_error(name, outcome, f"request {number} {what}")
                    if what == "is answered with 429":
                        self.must_know_the_wait(outcome, number)

        self.each(fail)

    def test_nonsense_of_a_vendor_is_no_bug_of_ours(self) -> None:
        async def send_nonsense(one: Session, name: str, example: Example) -> None:
            for number in await self.requests_of(one, name, example):
                for body in NONSENSE:
                    for change in (with_body(number, body), with_body(number, body, BROKEN)):
                        outcome = await self.changed(one, name, example, change)
                        self.check(outcome)
                        must(
                            outcome.error is None or is_clear(outcome.error),
                            f"when the vendor answers request {number} with {body!r}, it raises "
                            f"{told_type(outcome.error)}: read answers with care, and raise an UpstreamError",
                        )

        self.each(send_nonsense)

    def test_an_endless_answer_is_given_up(self) -> None:
        async def never_end(one: Session, name: str, example: Example) -> None:
            for number in await self.requests_of(one, name, example):
                endless = Endless()
                await self.changed(one, name, example, with_chunks(number, endless))
                must(
                    endless.read_bytes < ENDLESS_BYTES,
                    f"it reads all of an answer to request {number} that does not end: stop after as many bytes as "
                    "you need",
                )

        self.each(never_end)

    def test_a_client_that_leaves_ends_the_call_wherever_it_is(self) -> None:
        async def leave(one: Session, name: str, example: Example) -> None:
            for at in await self.stops_of(one, name, example):
                await one.reset()
                body = await one.prepare(example)
                ended = await stopped(lambda points, body=body: one.run(name, example, body, points=points), at)  # type: ignore[misc]
                if ended is not None:
                    how = "answers" if ended.error is None else f"raises {told_type(ended.error)}"
                    raise AssertionError(
                        f"it {how} although it was cancelled: do not catch CancelledError or BaseException, or raise "
                        "it again"
                    )

        self.each(leave)

    def test_a_call_that_takes_too_long_ends(self) -> None:
        async def wait(one: Session, name: str, example: Example) -> None:
            for at in (await self.stops_of(one, name, example))[-1:]:
                await one.reset()
                body = await one.prepare(example)
                points = Points(at)
                running = asyncio.ensure_future(one.run(name, example, body, points=points, timeout_s=SHORT_S))
                await asyncio.wait([running], timeout=PATIENCE_S)
                points.goes_on.set()  # else one that ignores its time would never end
                outcome = await running
                if points.reached.is_set():
                    must(
                        isinstance(outcome.error, TimeoutError),
                        "it goes on although its time is over: "
                        f"{'it answers' if outcome.error is None else error_text(outcome.error)}",
                    )

        self.each(wait)

    def test_a_job_that_runs_twice_does_its_work_once(self) -> None:
        """A worker that dies leaves a job that another one runs again, from the beginning."""

        async def repeat(one: Session, name: str, example: Example) -> None:
            await one.reset()
            body = await one.prepare(example)
            first = await one.run(name, example, body)
            once = await one.snapshot([*self.changes_on_repeat])
            second = await one.run(name, example, body)
            self.compare(name, first, second, once, await one.snapshot([*self.changes_on_repeat]), "runs a second time")
            for at in await self.stops_of(one, name, example):
                await one.reset()
                body = await one.prepare(example)
                dies: list[Outcome] = []

                async def die(points: Points, body: object = body, dies: list[Outcome] = dies) -> Outcome:
                    return await one.run(name, example, body, points=points, seen=dies)

                await stopped(die, at)
                second = await one.run(name, example, body)
                killed = dies[0] if dies else first
                after = await one.snapshot([*self.changes_on_repeat])
                self.compare(name, killed, second, once, after, "runs again after it was killed", is_new=True)

        self.each(repeat, only=self.jobs())

    def test_another_customer_s_rows_are_neither_shown_nor_changed(self) -> None:
        async def intrude(one: Session, name: str, example: Example) -> None:
            await one.reset()
            body = await one.prepare(example)
            own = await one.run(name, example, body)
            if isinstance(own.error, KaixuError):
                return
            await one.reset()
            alone = await one.run(name, example, body, customer_id=2)
            await one.reset()
            body = await one.prepare(example)
            before = await one.rows_of(1)
            other = await one.run(name, example, body, customer_id=2)
            must(
                await one.rows_of(1) == before,
                "called by another customer it changes rows of this one: let every statement say "
                "`where customer_id = $1`, with call.customer_id",
            )
            shown = other.error is None and other.result == own.result
            must(
                not shown or (alone.error is None and alone.result == other.result) or before == {},
                "called by another customer it shows what belongs to this one: let every statement say "
                "`where customer_id = $1`, with call.customer_id",
            )

        self.each(intrude, only=[one.name for one in self.integration.operations if isinstance(one.auth, Key)])

    def test_what_schedules_and_webhooks_enqueue_needs_no_customer(self) -> None:
        async def enqueue(one: Session, name: str, example: Example) -> None:
            await one.reset()
            outcome = await one.run(name, example, await one.prepare(example))
            if outcome.error is not None:
                raise AssertionError(f"it fails: {error_text(outcome.error)}") from outcome.error
            for job, payload in outcome.call.jobs:
                for of_job in self.examples_of(job)[:1]:
                    ended = await one.run(job, of_job, payload, customer_id=None)
                    if ended.error is not None and not self.may_pause(job, ended.error):
                        raise AssertionError(
                            f"it enqueues {job!r}, which fails without a customer: {error_text(ended.error)}"
                        ) from ended.error

        webhooks = [name for name in self.jobs() if webhook_named(self.integration, name) is not None]
        self.each(enqueue, only=[*(one.name for one in self.integration.schedules), *webhooks])

    def test_webhooks_accept_what_is_signed_and_nothing_else(self) -> None:
        for webhook in self.integration.webhooks:
            for example in self.examples_of(f"{self.integration.name}.webhooks.{webhook.name}"):
                self.verify(webhook, example)

    # How they run

    def names(self) -> list[str]:
        """Everything that needs an example."""
        offered = [name for name in offered_by(self.integration) if name not in self.reactions()]
        return [*offered, *(one.name for one in self.integration.schedules)]

    def reactions(self) -> list[str]:
        """The names of its reactions."""
        return [f"{self.integration.name}.reactions.{one.on}" for one in self.integration.reactions]

    def jobs(self) -> list[str]:
        """What may run twice: jobs, and handlers of webhooks."""
        return [name for name, one in offered_by(self.integration).items() if isinstance(one, Job)]

    def examples_of(self, name: str) -> Sequence[Example]:
        """The examples of one function."""
        given = self.examples().get(name, ())
        return [given] if isinstance(given, Example) else given

    def opened_options(self) -> Options:
        """The options of all examples that have none of their own."""
        if self.options is not None:
            return self.options
        try:
            return self.integration.options()
        except ValueError as error:
            raise AssertionError(f"its options need values: set `options` of {type(self).__name__}\n{error}") from None

    def each(
        self, work: Callable[[Session, str, Example], Awaitable[None]], *, only: Collection[str] | None = None
    ) -> None:
        """Run `work` with each example, in tables of its own."""

        async def all_of_them() -> None:
            tables = tables_of(self.integration, self.modules())
            async with session(self.integration, self.opened_options(), tables) as one:
                for name in [*self.names(), *self.reactions()] if only is None else only:
                    for example in self.examples_of(name):
                        try:
                            await work(one, name, example)
                        except AssertionError as error:
                            raise AssertionError(f"{name!r}: {error}") from error

        asyncio.run(all_of_them())

    def modules(self) -> list[str]:
        """The names of the modules of its handlers, beside which its tables are."""
        handlers = [one.handler for one in [*offered_by(self.integration).values(), *self.integration.schedules]]
        return list(dict.fromkeys(handler.__module__ for handler in handlers))

    async def requests_of(self, one: Session, name: str, example: Example) -> range:
        """The numbers of the requests that an example sends, from 1."""
        await one.reset()
        outcome = await one.run(name, example, await one.prepare(example))
        return range(1, len(outcome.call.wire.requests) + 1)

    async def stops_of(self, one: Session, name: str, example: Example) -> Sequence[int]:
        """The places where an example waits, from 1; not all of them, if there are many."""
        await one.reset()
        points = Points()
        await one.run(name, example, await one.prepare(example), points=points)
        all_of_them = range(1, points.passed + 1)
        return all_of_them[:: max(1, -(-len(all_of_them) // MOST_STOPS))]

    async def changed(self, one: Session, name: str, example: Example, change: Change) -> Outcome:
        """A run in which the vendor answers differently."""
        await one.reset()
        return await one.run(name, example, await one.prepare(example), answer=change)

    # What they require

    def may_pause(self, name: str, error: BaseException) -> bool:
        """Whether this is no error: a job that runs again later."""
        return isinstance(error, Again) and isinstance(offered_by(self.integration).get(name), Job)

    def check(self, outcome: Outcome) -> None:
        """What holds after every run."""
        must(not outcome.notes, "; ".join(outcome.notes))
        risky = [one for one in outcome.call.wire.risky if not self.is_known_to_vendor(one)]
        must(
            not risky,
            f"{', '.join(risky)} may arrive twice (`tries`), and the vendor cannot know: send an idempotency key, or "
            "name the URL in `may_arrive_twice`",
        )
        secrets = {self.secret, *outcome.call.secrets.used, *secrets_of_options(outcome.call.options)}
        for text in texts_of(outcome):
            must(not any(secret in text for secret in secrets if secret), f"a secret is shown in {text[:200]!r}")

    def is_known_to_vendor(self, request: str) -> bool:
        """Whether the author has said that this request may arrive twice."""
        return any(request.partition(" ")[2].startswith(begin) for begin in self.may_arrive_twice)

    def must_be_an_error(self, name: str, outcome: Outcome, what: str) -> None:
        """Raises `AssertionError` for a run that succeeds, or that fails by a bug."""
        must(
            outcome.error is not None,
            f"it succeeds although {what}: let the error pass, or name the request in the example's `may_fail`",
        )
        assert outcome.error is not None
        must(
            is_clear(outcome.error) or self.may_pause(name, outcome.error),
            f"when {what}, it raises {told_type(outcome.error)}: clients would get INTEGRATION_FAILED. Raise one "
            "of the errors of kaixu.plugin",
        )

    def must_know_the_wait(self, outcome: Outcome, number: int) -> None:
        """Raises `AssertionError` for an error that does not pass on how long a vendor wants to be left alone."""
        if isinstance(outcome.error, KaixuError):
            must(
                outcome.error.retry_after_s is not None,
                f"when request {number} is answered with 429 and retry-after, its {told_type(outcome.error)} does not "
                "say when to try again: pass `retry_after_s` on, or let the wire's error pass",
            )

    def compare(
        self,
        name: str,
        first: Outcome,
        second: Outcome,
        once: object,
        twice: object,
        how: str,
        *,
        is_new: bool = False,
    ) -> None:
        """Compare a job's second run with its first."""
        if second.error is not None and not self.may_pause(name, second.error):
            raise AssertionError(f"when it {how}, it fails: {error_text(second.error)}") from second.error
        must(
            once == twice,
            f"when it {how}, its rows become others: note what was done, and look there first\n  once:  {once}\n"
            f"  twice: {twice}",
        )
        must(
            is_new or not second.call.jobs,
            f"when it {how}, it enqueues {', '.join(job for job, _ in second.call.jobs)} again: give the job a `key`",
        )
        for what, keys in keys_of(second).items():
            new = keys - keys_of(first)[what]
            must(
                is_new or not new,
                f"when it {how}, it {what} under another key, {min(new, default='')!r}: let the key follow from the "
                "payload or the rows",
            )
        for request in second.call.wire.requests:
            for earlier in first.call.wire.requests:
                is_same = (request.method, request.url) == (earlier.method, earlier.url)
                if is_same and request.method in ("POST", "PATCH") and not recognizable(earlier, request):
                    must(
                        self.is_known_to_vendor(f"{request.method} {request.url}"),
                        f"when it {how}, it sends {request.method} {request.url} again, and the vendor cannot know: "
                        "send an idempotency key that follows from the payload or the rows, or name the URL in "
                        "`may_arrive_twice`",
                    )

    def verify(self, webhook: Webhook, example: Example) -> None:
        """Check the verification of a webhook, with the clock far in the past and in the future."""
        body, options = example.body, example.options or self.opened_options()
        label = f"webhook {webhook.name!r}"
        must(isinstance(body, bytes) and example.sign is not None, f"{label}: its example needs bytes, and `sign`")
        assert example.sign is not None
        for now in (SIGNED_AT, SIGNED_AT + timedelta(days=20 * 365)):
            event = verified(webhook, example, body, self.opened_options(), now)
            again = verified(webhook, example, body, self.opened_options(), now)
            must(event == again, f"{label}: `verify` finds another event in the same body: {event}, then {again}")
            must(bool(event.id and event.type), f"{label}: an event needs an id and a type, not {event}")
        signed = lower(example.sign(body, SIGNED_AT))
        forged: dict[str, tuple[bytes, Mapping[str, str]]] = {
            "a body without a signature": (body, {}),
            "an empty signature": (body, dict.fromkeys(signed, "")),
            "a body that was changed after it was signed": (body + b" ", signed),
            "another body": (b"{}", signed),
        }
        for what, (data, headers) in forged.items():
            try:
                webhook.verify(data, headers, options, SIGNED_AT)
            except Exception:  # noqa: BLE001,S112 - the core answers BAD_SIGNATURE, whatever it is
                continue
            raise AssertionError(f"{label} accepts {what}: raise BadSignature, and compare with hmac.compare_digest")

"""The supervisor: keeps the workers of one gateway running, and passes on what is asked of the gateway.

`python -m kaixu.gateway.processes.supervisor serve PLAN`; `kaixu serve` becomes this process. It imports little.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import msgspec

from kaixu.gateway.claim import Claim
from kaixu.ops.logs import start_log

from .changes import Changes
from .channel import Channel, Message
from .count import connections_advice, fitting
from .figures import Totals
from .plan import Fork, Plan
from .ports import bind_one
from .reaper import Reaper, words_of
from .template import Template, TemplateEnded
from .workers import WorkerProcess

log = logging.getLogger("kaixu.supervisor")

#: A worker that has served this long begins anew with short pauses.
STEADY_S = 30.0

#: Seconds between starts of a worker that ends again and again.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0

#: How often each worker may end before it serves, while none serves, until the gateway gives up.
MOST_FAILURES = 5


class Supervisor:
    """The workers of one gateway, by slot. A slot keeps its number and its socket when its process is replaced."""

    def __init__(self, plan: Plan, claim: Claim) -> None:
        self.plan = plan
        self.claim = claim
        self.reaper = Reaper()
        self.sockets: dict[int, socket.socket] = {
            slot: socket.socket(fileno=descriptor) for slot, descriptor in enumerate(plan.sockets)
        }
        self.current: dict[int, WorkerProcess] = {}
        self.running: set[WorkerProcess] = set()  # with those that a restart has replaced
        self.slots: dict[int, asyncio.Task[None]] = {}
        self.locks: dict[int, asyncio.Lock] = {}
        self.failures: dict[int, int] = {}
        self.ended = Totals()  # the counts of workers that have ended
        self.restarts = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.stop = asyncio.Event()
        self.changes = Changes(self)
        self.template: Template
        self.given_up = False
        self.is_announced = False

    async def run(self) -> int:
        """Run until the gateway is stopped or gives up; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.pass_on, number)
        loop.add_signal_handler(signal.SIGHUP, self.changes.reload_asked.set)
        loop.add_signal_handler(signal.SIGUSR2, self.changes.restart_asked.set)
        try:
            self.template = await Template.start(self.plan.template)
            started = await self.start_first()
        except TemplateEnded as error:
            log.error("%s before any worker has started", error)
            return 1
        if started:
            self.spawn(self.changes.reload_on_signal())
            self.spawn(self.changes.restart_on_signal())
            await self.stop.wait()
        elif not self.stop.is_set():
            return 1  # the worker has said why
        for slot in self.sockets.values():
            slot.close()  # workers have theirs, and close the port in their own order
        while self.running:  # one may have been forked just now
            await next(iter(self.running)).ended.wait()
        self.template.close()
        with self.writing():
            self.claim.hide()
        return 1 if self.given_up else 0

    async def start_first(self) -> bool:
        """Start the first worker alone, since it prepares the database, then the others; whether the first serves."""
        first = await self.start_worker(0)
        if not await first.starts():
            return False
        count = self.allowed_count(first.told, self.plan.processes, is_auto=self.plan.is_auto)
        self.announce()
        self.keep(0)
        others = [self.keep(slot) for slot in range(1, count)]
        for slot in set(self.sockets) - set(range(count)):
            self.sockets.pop(slot).close()
        self.spawn(self.greet_when(others))
        return True

    def allowed_count(self, told: Message, processes: int, *, is_auto: bool) -> int:
        """How many workers run: as many as asked for, but `auto` only what the database has connections for."""
        each, most = told["connections_each"], told["connections_most"]
        fits = fitting(processes, each, most)
        if fits < processes:
            log.warning("%s", connections_advice(processes, each, most))
            if is_auto:
                log.warning("`processes: auto` starts %d of %d for now", fits, processes)
                return fits
        return processes

    async def greet_when(self, others: list[asyncio.Event]) -> None:
        """Let the first worker print the gateway's address when every other has started or failed once."""
        for tried in others:
            await tried.wait()
        ready = sum(one.state == "ready" for one in self.current.values())
        log.info("%d of %d workers serve", ready, len(self.slots))
        if (first := self.current.get(0)) is not None:
            first.channel.send({"do": "greet"})

    def spawn(self, work: object) -> asyncio.Task[None]:
        """Run something in the background."""
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(log_failure)
        return task  # type: ignore[no-any-return]

    async def start_worker(self, slot: int, listening: socket.socket | None = None) -> WorkerProcess:
        """Fork a worker that listens on its slot's socket, or on another one.

        Raises `TemplateEnded` if there is nothing to fork from, and `OSError` if the port is in use.
        """
        if listening is None and slot not in self.sockets:
            self.sockets[slot] = bind_one(self.plan.host, self.plan.port)
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (listening or self.sockets[slot]).fileno(), theirs.fileno()
            try:
                process = await self.template.fork(Fork(slot), descriptors)
            except TemplateEnded:
                self.template.close()
                log.warning("the process that workers are forked from has ended; another one starts")
                self.template = await Template.start(self.plan.template)
                process = await self.template.fork(Fork(slot), descriptors)
        worker = WorkerProcess(slot, process, await Channel.over(ours), self.handle)
        self.running.add(worker)
        if self.stop.is_set():
            worker.signal(signal.SIGTERM)
        self.spawn(self.follow(worker))
        if slot not in self.current or self.current[slot].ended.is_set():
            self.current[slot] = worker
        return worker

    async def follow(self, worker: WorkerProcess) -> None:
        """Follow a worker to its end, and keep its counts."""
        await worker.follow(self.reaper)
        self.running.discard(worker)
        self.ended.add(worker.families)
        self.announce()

    def handle(self, worker: WorkerProcess, message: Message) -> None:
        """Handle what a worker has sent."""
        if message["is"] == "ready":
            log.info("worker %d serves (process %d)", worker.slot, worker.process)
            self.announce()
            if worker.reload_when_ready:
                worker.channel.send({"do": "reload"})
        elif message["is"] == "question":
            self.spawn(self.answer(worker, message["id"], message["about"]))

    async def answer(self, worker: WorkerProcess, number: int, about: str) -> None:
        """Answer a worker's question: who the workers are, and for `figures` what each of them has counted."""
        reply: Message = {"do": "answer", "id": number}
        reply["workers"] = [one.about() for one in self.by_slot()]
        reply["slots"] = len(self.slots)
        if about == "figures":
            await asyncio.gather(*(one.refresh_figures() for one in self.running if one.ready.is_set()))
            # Those of a slot's replaced process are added to the counts of ended ones, which they will be.
            ended = Totals()
            ended.add(self.ended.all())
            for one in self.running - set(self.current.values()):
                ended.add(one.families)
            reply["figures"] = {str(one.slot): one.families for one in self.by_slot() if not one.ended.is_set()}
            reply["ended"] = ended.all()
            reply["restarts"] = self.restarts
        worker.channel.send(reply)

    def by_slot(self) -> list[WorkerProcess]:
        """The worker of each slot, in their order."""
        return [self.current[slot] for slot in sorted(self.current)]

    def announce(self) -> None:
        """Describe the gateway for commands."""
        if not self.stop.is_set() and (self.slots or self.current[0].ready.is_set()):
            about = msgspec.structs.replace(self.plan.about, workers=[one.about() for one in self.by_slot()])
            with self.writing():
                if self.is_announced:
                    self.claim.describe(about)
                else:
                    self.claim.announce(about)
                self.is_announced = True

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write to the data folder. A full disk must not end what follows the workers; commands see an old state."""
        try:
            yield
        except OSError as error:
            log.error("the data folder cannot be written to, so commands see an old state: %s", error)

    def keep(self, slot: int) -> asyncio.Event:
        """Keep a slot's worker running; the event is set when it has started or failed once."""
        tried = asyncio.Event()
        self.locks.setdefault(slot, asyncio.Lock())
        self.failures[slot] = 0
        self.slots[slot] = self.spawn(self.keep_running(slot, tried))
        self.slots[slot].add_done_callback(lambda _: tried.set())
        return tried

    async def keep_running(self, slot: int, tried: asyncio.Event) -> None:
        """Start a slot's worker whenever it has ended, with growing pauses while it ends again and again."""
        while not self.stop.is_set():
            worker = self.current.get(slot)
            if worker is None or worker.ended.is_set():
                async with self.locks[slot]:
                    worker = self.current.get(slot)
                    if (worker is None or worker.ended.is_set()) and not self.stop.is_set():
                        try:
                            worker = await self.start_worker(slot)
                            await worker.starts()
                        except (TemplateEnded, OSError) as error:
                            log.error("worker %d cannot be started: %s", slot, error)
                            await self.pause(slot)
                            tried.set()
                            continue
            tried.set()
            if worker is None:
                return
            await worker.ended.wait()
            if self.current.get(slot) is worker and not self.stop.is_set():
                log.warning("worker %d (process %d) %s", slot, worker.process, words_of(worker.code))
                self.restarts += 1
                if worker.ready_at is not None and monotonic() - worker.ready_at >= STEADY_S:
                    self.failures[slot] = 0
                await self.pause(slot, served=worker.ready_at is not None)

    async def pause(self, slot: int, *, served: bool = False) -> None:
        """Wait before the next start of a slot's worker: not at all the first time, then longer and longer.

        While it waits, the kernel sends no connections to its socket.
        """
        self.failures[slot] += 1
        if self.failures[slot] == 1 and served:
            return
        if (made := self.sockets.pop(slot, None)) is not None:
            made.close()
        if self.nothing_serves() and all(count >= MOST_FAILURES for count in self.failures.values()):
            log.error("no worker could be started, each was tried %d times: giving up", MOST_FAILURES)
            self.given_up = True
            self.stop.set()
            return
        seconds = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self.failures[slot] - 1))
        log.warning("worker %d starts again in %.0f s", slot, seconds)
        try:
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        except TimeoutError:
            pass

    def nothing_serves(self) -> bool:
        """Whether no worker serves or starts."""
        return all(one.ended.is_set() for one in self.current.values())

    def pass_on(self, number: signal.Signals) -> None:
        """Stop: pass a signal on to all workers, each time it comes."""
        if not self.stop.is_set():
            log.info("stopping %d workers", len(self.running))
        self.stop.set()
        for worker in self.running:
            worker.signal(number)


def log_failure(task: asyncio.Task[None]) -> None:
    """Log an unexpected failure."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a task of the supervisor failed", exc_info=error)


async def supervise(plan: Plan) -> int:
    """Run the supervisor."""
    claim = Claim.inherited(Path(plan.home), plan.lock)
    return await Supervisor(plan, claim).run()


def main() -> None:
    """Run the supervisor of the plan on the command line."""
    plan = msgspec.json.decode(sys.argv[2], type=Plan)
    start_log(sys.stderr, plan.log_format, plan.log_level)
    for descriptor in (plan.lock, *plan.sockets):
        os.set_inheritable(descriptor, False)
    sys.exit(asyncio.run(supervise(plan)))


if __name__ == "__main__":
    main()

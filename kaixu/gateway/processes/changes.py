"""What is asked of a gateway's workers while they run: to reload kaixu.yaml, or to give way to new processes."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import ExitStack
from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec

from kaixu.config.processes import MOST_PROCESSES
from kaixu.gateway.claim import ReloadOutcome, RestartOutcome

from .channel import Message
from .count import available_cores
from .ports import bind_one
from .template import Template, TemplateEnded
from .workers import WorkerProcess

if TYPE_CHECKING:
    from .supervisor import Supervisor

log = logging.getLogger("kaixu.supervisor")

UNEXPECTED = "something went wrong; see the gateway's log"


class Changes:
    """Reloads and restarts, each one at a time, and their outcomes for the commands that wait for them."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.reload_asked, self.restart_asked = asyncio.Event(), asyncio.Event()

    async def reload_on_signal(self) -> None:
        """Reload at every SIGHUP, one at a time."""
        while True:
            await self.reload_asked.wait()
            self.reload_asked.clear()
            began_ns = monotonic_ns()
            try:
                outcome = await self.reload()
            except Exception:
                # An unexpected failure must not prevent the next reload.
                log.exception("kaixu.yaml was not reloaded")
                outcome = ReloadOutcome(os.getpid(), began_ns, refused=UNEXPECTED)
            with self.supervisor.writing():
                self.supervisor.claim.record_reload(outcome)

    async def reload(self) -> ReloadOutcome:
        """Let one worker reload; if it accepts the file, all others too. One that cannot is replaced."""
        began_ns = monotonic_ns()
        for one in self.supervisor.running:
            one.reload_when_ready = one.reload_when_ready or not one.ready.is_set()
        outcome: Message | None = None
        serving: list[WorkerProcess] = []
        while outcome is None:
            # Of all that run: one that a restart has just started is not its slot's worker yet.
            serving = sorted((one for one in self.supervisor.running if one.state == "ready"), key=lambda one: one.slot)
            if not serving:
                if self.supervisor.nothing_serves() or self.supervisor.stop.is_set():
                    return ReloadOutcome(os.getpid(), began_ns, refused="no worker serves; see the gateway's log")
                await asyncio.sleep(0.05)
                continue
            outcome = await serving[0].reload(began_ns)
        told = msgspec.convert({**outcome, "pid": os.getpid(), "began_ns": began_ns}, ReloadOutcome)
        if told.refused is not None:
            return told
        notes = list(told.notes)
        answers = await asyncio.gather(*(one.reload(began_ns) for one in serving[1:]))
        for one, answer in zip(serving[1:], answers, strict=True):
            if answer is not None and answer.get("refused") is not None:
                notes.append(f"worker {one.slot} has not reloaded, and is replaced: {answer['refused']}")
                self.supervisor.spawn(self.replace(one.slot))
        return msgspec.structs.replace(told, notes=notes)

    async def restart_on_signal(self) -> None:
        """Replace all workers at every SIGUSR2, one at a time."""
        while True:
            await self.restart_asked.wait()
            self.restart_asked.clear()
            began_ns = monotonic_ns()
            try:
                outcome = await self.restart()
            except Exception:
                # An unexpected failure must not prevent the next restart.
                log.exception("the workers were not restarted")
                outcome = RestartOutcome(os.getpid(), began_ns, refused=UNEXPECTED)
            with self.supervisor.writing():
                self.supervisor.claim.record_restart(outcome)

    async def restart(self) -> RestartOutcome:
        """Replace the workers one after the other by processes of the code and kaixu.yaml on the disk.

        The port stays open: a new worker serves before the old one stops. If one does not start, the rest stays.
        """
        began_ns = monotonic_ns()

        def outcome(refused: str | None) -> RestartOutcome:
            told = [one.about() for one in self.supervisor.by_slot()]
            if refused is not None:
                log.error("restart: %s", refused)
            return RestartOutcome(os.getpid(), began_ns, refused=refused, workers=told)

        log.info("restarting %d workers", len(self.supervisor.slots))
        try:
            template = await Template.start(self.supervisor.plan.template)
        except TemplateEnded:
            return outcome("the installed code does not start, so all workers stay; see the gateway's log")
        self.supervisor.template, before = template, self.supervisor.template
        for slot in sorted(self.supervisor.slots):
            if self.supervisor.stop.is_set():
                return outcome("the gateway stops")
            if not await self.replace(slot):
                template.close()
                self.supervisor.template = before
                return outcome(f"the new worker {slot} does not start, so the others stay; see the gateway's log")
        before.close()
        await self.follow_count()
        log.info("all workers were restarted")
        return outcome(None)

    async def replace(self, slot: int) -> bool:
        """Start another process in a slot, then stop the old one and wait for its end; False if it does not start."""
        supervisor = self.supervisor
        async with supervisor.locks[slot]:
            old = supervisor.current.get(slot)
            try:
                with ExitStack() as if_it_fails:
                    # Its own: the old process closes its socket in an order that loses no connection.
                    listening = if_it_fails.enter_context(bind_one(supervisor.plan.host, supervisor.plan.port))
                    new = await supervisor.start_worker(slot, listening)
                    if not await new.starts():
                        return False
                    if_it_fails.pop_all()
            except (TemplateEnded, OSError) as error:
                log.error("worker %d cannot be started: %s", slot, error)
                return False
            if (before := supervisor.sockets.pop(slot, None)) is not None:
                before.close()
            supervisor.sockets[slot] = listening
            supervisor.current[slot] = new
            if slot in supervisor.slots:
                # It may be in a long pause, and would not see an end of the new one.
                supervisor.slots[slot].cancel()
                supervisor.keep(slot)
        if old is not None and not old.ended.is_set():
            old.retire()
            supervisor.announce()
            await old.ended.wait()
        return True

    async def follow_count(self) -> None:
        """Run as many workers as kaixu.yaml says by now, unless the command line says how many."""
        told = self.supervisor.current[0].told
        if self.supervisor.plan.is_fixed:
            return
        is_auto = told["processes"] == "auto"
        processes = min(MOST_PROCESSES, available_cores() if is_auto else int(told["processes"]))
        count = self.supervisor.allowed_count(told, processes, is_auto=is_auto)
        tried = [self.supervisor.keep(slot) for slot in range(count) if slot not in self.supervisor.slots]
        for slot in [slot for slot in self.supervisor.slots if slot >= count]:
            self.supervisor.slots.pop(slot).cancel()
            self.supervisor.failures.pop(slot)
            if (made := self.supervisor.sockets.pop(slot, None)) is not None:
                made.close()
            worker = self.supervisor.current.pop(slot)
            worker.retire()
        for one in tried:
            await one.wait()
        self.supervisor.announce()

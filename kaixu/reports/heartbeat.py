"""The gateway's health by the minute: the last look, how long it has failed, and the history of a day."""

from __future__ import annotations

from typing import Any

import asyncpg

from kaixu.ops.heartbeat import Beat, Beats
from kaixu.plugin.errors import DatabaseAway
from kaixu.store.heartbeat import newest_beats
from kaixu.store.pool import database

from .values import instant


async def heartbeats(pool: asyncpg.Pool, beats: Beats, known: list[Beat]) -> list[Beat]:
    """The beats of the last day, the newest first.

    While the database is away: those that this process has noted, and the `known` ones, which it read before.
    """
    try:
        with database():
            return beats.merged(await newest_beats(pool))
    except DatabaseAway:
        return beats.merged(known)


def heartbeats_json(beats: list[Beat], *, history: bool) -> dict[str, Any]:
    """The last beat, the failures, with `history` all beats, newest first. Before the first beat nothing is wrong."""
    shown: dict[str, Any] = {
        "ok": not beats or beats[0].ok,
        "last": beat_json(beats[0]) if beats else None,
        "failures": {
            "streak": failure_streak(beats),
            "last_failure": next((beat_json(beat) for beat in beats if not beat.ok), None),
            "last_ok": next((beat_json(beat) for beat in beats if beat.ok), None),
        },
    }
    if history:
        shown["history"] = {
            "updated_at": instant(beats[0].seen_at) if beats else None,
            "items": [beat_json(beat) for beat in beats],
        }
    return shown


def failure_streak(beats: list[Beat]) -> int:
    """How many of the newest beats failed, one after the other."""
    return next((count for count, beat in enumerate(beats) if beat.ok), len(beats))


def beat_json(beat: Beat) -> dict[str, Any]:
    """One beat. `db` is what some pages read for `db_ok`."""
    return {
        "ts": instant(beat.seen_at),
        "ok": beat.ok,
        "http_ok": beat.http_ok,
        "db_ok": beat.db_ok,
        "db": beat.db_ok,
        "status": beat.status,
        "ms": beat.ms,
        "error": beat.error,
        "error_type": beat.error_type,
        "build": beat.build,
        "attempt": beat.attempt,
    }

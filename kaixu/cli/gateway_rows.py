"""The part of `kaixu doctor` that checks running gateways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kaixu.config.environment import EnvironmentMistake, Settings, secrets_of
from kaixu.edge.tokens import make_inspection_token
from kaixu.gateway.claim import About, database_name, other_folders, read_about, running_in, workers_in
from kaixu.reports.spool_state import spool_state

#: The time limit for the health check; a healthy gateway answers in milliseconds.
ANSWER_S = 3.0

Row = dict[str, Any]


def row(what: str, good: bool, detail: object, *, bad: str = "wrong") -> Row:
    """The result of one check: its state is "ok", "off" or "wrong"."""
    return {"what": what, "state": "ok" if good else bad, "detail": detail}


def gateway_rows(settings: Settings) -> Iterator[Row]:
    """The gateway of our data folder; if none runs, the gateways of other data folders."""
    home = settings.kaixu_home
    process, itself = running_in(home), read_about(home)
    if process is None:
        yield row("gateway", False, f"none runs with data folder {home.resolve()}", bad="off")
    elif workers := workers_in(home):
        yield row("job workers", True, f"process {workers}, data folder {home.resolve()}")
    elif itself is None:
        yield row("gateway", False, f"one with data folder {home.resolve()} is starting or stopping", bad="off")
    else:
        yield row("gateway", True, describe(itself, home))
        yield from worker_rows(itself)
        yield from health_rows(itself, settings)
        yield from compare_settings(itself, settings)
    if process is not None:
        return
    for folder in other_folders(home):
        other = read_about(folder)
        if other is not None:
            yield row(f"gateway in {folder}", True, f"{describe(other, folder)}; database {other.database}")
            yield from spool_rows(folder, f" in {folder}")


def describe(itself: About, home: Path) -> str:
    """A gateway in one line."""
    return (
        f"process {itself.pid} since {itself.since}, version {itself.version}, {itself.url} ({itself.server}), "
        f"data folder {home.resolve()}"
    )


def worker_rows(itself: About) -> Iterator[Row]:
    """The workers of a gateway with several processes."""
    for one in itself.workers:
        detail = f"process {one.pid}, {one.state}, since {one.since}, version {one.version or 'not known yet'}"
        yield row(f"worker {one.slot}", one.state != "down", detail)


def compare_settings(itself: About, settings: Settings) -> Iterator[Row]:
    """Whether our settings match the gateway's; otherwise commands would use another database."""
    ours = {"database": database_name(settings), "config": str(settings.kaixu_config.resolve())}
    for what, variable in (("database", "DATABASE_URL"), ("config", "KAIXU_CONFIG")):
        its = getattr(itself, what)
        same = its == ours[what]
        yield row(f"gateway's {what}", same, its if same else f"{its}; {variable} here says {ours[what]}")


def health_rows(itself: About, settings: Settings) -> Iterator[Row]:
    """The gateway's health endpoint, as operators see it, and how each lane's vendor has answered lately."""
    import httpx

    try:
        answer = httpx.get(
            f"{itself.url}/api/health", headers=operator_headers(settings), timeout=ANSWER_S, trust_env=False
        )
        body = answer.json()
        vendors = [vendor_row(name, counts) for name, counts in (body.get("vendors") or {}).items()]
        why = "; ".join(map(str, body.get("why") or [])) or f"{body.get('in_flight', 0)} calls in flight"
    except (httpx.HTTPError, ValueError, AttributeError, TypeError, KeyError) as error:
        yield row("gateway's health", False, f"{itself.url} does not answer: {type(error).__name__}")
        return
    yield row("gateway's health", answer.status_code == 200, f"{answer.status_code}: {why}")
    yield from vendors


def operator_headers(settings: Settings) -> dict[str, str]:
    """What shows the details of health, if the gateway's secrets are known here."""
    try:
        secrets = secrets_of(settings, dev=(settings.kaixu_home / "secrets.json").exists())
    except EnvironmentMistake:
        return {}
    return {"authorization": f"Bearer {make_inspection_token(secrets.jwt_secret)}"}


def vendor_row(name: str, counts: dict[str, Any]) -> Row:
    """How a lane's vendor has answered the calls of the last minutes."""
    calls, failed, minutes = counts["calls"], counts["failed"], counts["within_s"] // 60
    detail = f"{calls - failed} of the last {calls} calls were answered ({minutes} minutes)"
    if counts["last_failure"] is not None:
        detail += f"; the last failure: {counts['last_failure']}"
    return row(f"vendor of {name}", not counts["is_failing"], detail)


def spool_rows(home: Path, where: str = "") -> Iterator[Row]:
    """Settlements that are not in the database: spooled, or refused by it."""
    spool = spool_state(home)
    detail = f"{spool.waiting} settlements wait for the database" if spool.waiting else "empty"
    yield row(f"spool{where}", not spool.waiting, detail, bad="off")
    refused = f"{spool.refused} in {spool.refused_folder}" if spool.refused else "none"
    yield row(f"refused settlements{where}", not spool.refused, refused)

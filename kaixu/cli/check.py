"""`kaixu check`: is kaixu.yaml right, do its plugins load, does the database answer? Every mistake at once."""

from __future__ import annotations

import typer

from .report import print_record
from .session import AsJson, Session, catalog_of, fail, settings, with_database


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)


def check(
    as_json: AsJson = False,
    database: bool = typer.Option(True, help="Also look whether the database answers."),
) -> None:
    """Check kaixu.yaml, its plugins and the database; exit 1 with everything that is wrong."""
    given = settings()
    catalog = catalog_of(given)
    wrong = [str(mistake) for mistake in sorted(catalog.mistakes)]
    wrong += [
        f"lane `{name}`: {state.reason}"
        for name, state in catalog.lanes.items()
        if state.state == "failed" and not any(f"lane `{name}`" in said for said in wrong)
    ]
    wrong += [f"plugin `{one.name}`: {one.reason}" for one in catalog.plugins if one.state == "failed"]
    if wrong:
        raise fail("\n".join(dict.fromkeys(wrong)))

    async def answer(session: Session) -> str:
        return str(await session.pool.fetchval("show server_version"))

    version = with_database(answer, migrated=False) if database else None
    record = {
        "config": str(given.kaixu_config),
        "lanes": len(catalog.lanes),
        "models": len(catalog.deployments),
        "off": ", ".join(f"{name} ({state.reason})" for name, state in catalog.lanes.items() if state.state == "off")
        or None,
        "postgres": version,
    }
    print_record(record, as_json=as_json)

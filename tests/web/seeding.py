"""Makes the seeded database: rows first, then what only a running gateway can add."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import with_database

from .blocking import run
from .gateway import execute, running
from .seed import Seed, seed_rows
from .seed_calls import add_life


def seeded(server_dsn: str, name: str, home: Path, config: str) -> Seed:
    """Fill the migrated, empty database `name`, and shut it: others are copied from it."""
    dsn = with_database(server_dsn, name)
    seed = run(seed_rows(dsn))
    with running(home, dsn, config, seed) as gateway:
        seed = run(add_life(gateway))
    run(execute(server_dsn, f"alter database {name} allow_connections false"))
    return seed

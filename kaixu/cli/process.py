"""What `kaixu serve` and `kaixu work` share: logging, and start errors as one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kaixu.config.database_errors import DatabaseRefused, MigrationError
from kaixu.config.environment import EnvironmentMistake
from kaixu.config.mistakes import ConfigError
from kaixu.gateway.claim import FolderTaken
from kaixu.plugin.errors import DatabaseAway, PluginError

from .failure import fail


def log_to_stderr() -> None:
    """Log warnings and errors to stderr."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # The gateway logs an unavailable database in one line; asyncpg would log a stack for every attempt.
    logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)


@contextmanager
def start_errors() -> Iterator[None]:
    """End the command in one line, with a hint, if the process cannot start."""
    try:
        yield
    except FolderTaken as error:
        raise fail(error, hint="Give each gateway a KAIXU_HOME of its own.") from None
    except (EnvironmentMistake, ConfigError, PluginError, MigrationError) as error:
        raise fail(error) from None
    except (DatabaseAway, DatabaseRefused) as error:
        raise fail(error, hint="Check DATABASE_URL, and whether the database runs.") from None

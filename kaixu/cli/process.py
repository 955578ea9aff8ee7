"""What `kaixu serve` and `kaixu work` share: the log, and start errors as one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kaixu.config.database_errors import DatabaseRefused, MigrationError
from kaixu.config.environment import EnvironmentMistake, Settings
from kaixu.config.mistakes import ConfigError
from kaixu.gateway.claim import FolderTaken
from kaixu.ops.logs import LogWriter, start_log
from kaixu.plugin.errors import DatabaseAway, PluginError

from .failure import fail


def log_to_stderr(settings: Settings) -> LogWriter:
    """Log to stderr, as the settings say."""
    return start_log(sys.stderr, settings.kaixu_log, settings.kaixu_log_level)


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
        why = f": {error.__cause__}" if error.__cause__ is not None and str(error.__cause__) else ""
        raise fail(f"{error}{why}", hint="Check DATABASE_URL, and whether the database runs.") from None

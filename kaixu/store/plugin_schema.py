"""An integration's own tables: its schema, its role, its numbered files, and the statements that it may run."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from kaixu.config.database_errors import MigrationError
from kaixu.plugin.statements import CORE, ROLES
from kaixu.store.migrate import Step

#: `0001_deliveries.sql`
FILE = re.compile(r"[0-9]{4}_[a-z0-9_]{1,60}\.sql")
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def schema_of(name: str) -> str:
    """The schema of an integration's tables. Raises `MigrationError` for a name that can have none."""
    name = name.replace("-", "_")
    if not NAME.fullmatch(name):
        raise MigrationError(f"integration `{name[:60]}` cannot have tables: it needs a name of lower-case letters")
    return f"kaixu_{name}"


def role_of(name: str) -> str:
    """The role that owns them, and nothing else."""
    return f"{schema_of(name)}_plugin"


#: What would end the transaction that a file is applied in, and with it the plugin's role.
TRANSACTIONS = re.compile(
    r"(?:^|;)\s*(?:commit|rollback|end|abort|begin|start|savepoint|release|prepare\s+transaction)\b", re.IGNORECASE
)
COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
TEXTS = re.compile(r"\$([A-Za-z_]*)\$.*?\$\1\$|'(?:[^']|'')*'", re.DOTALL)


def without_comments_and_texts(sql: str) -> str:
    """Statements without their comments, texts and bodies."""
    return TEXTS.sub(" ", COMMENTS.sub(" ", sql))


def schema_steps(name: str, folder: Path) -> list[Step]:
    """The files of an integration, by number. Raises `MigrationError` for what may not be there."""
    if not folder.is_dir():
        raise MigrationError(f"integration `{name}` has no folder {folder.name} beside its module")
    steps = []
    for path in sorted(folder.glob("*.sql")):
        if not FILE.fullmatch(path.name):
            raise MigrationError(f"{name}: {path.name} must be called 0001_what.sql")
        sql = path.read_text(encoding="utf-8")
        if CORE.search(sql):
            raise MigrationError(f"{name}: {path.name} names the schema `kaixu`, which is the core's own")
        bare = without_comments_and_texts(sql)
        if ROLES.search(bare) or CORE.search(bare):
            raise MigrationError(f"{name}: {path.name} changes roles, which a plugin may not")
        if TRANSACTIONS.search(bare):
            raise MigrationError(f"{name}: {path.name} ends its transaction, which a plugin may not")
        digest = hashlib.sha256(sql.encode()).hexdigest()
        steps.append(Step(name, path.name, sql, digest, repeatable=False))
    return steps

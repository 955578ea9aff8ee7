"""What keeps the gateway from using its database, though it answers."""

from __future__ import annotations


class DatabaseRefused(Exception):
    """The database refuses our user, password or database name."""


class MigrationError(Exception):
    """The database and the schema files contradict each other."""

"""Errors of the gateway itself: a part of it is not available now, and a later try may succeed."""

from __future__ import annotations

from kaixu.plugin.errors.base import KaixuError


class Unavailable(KaixuError):
    """A part of the gateway is not available now."""

    status = 503
    code = "UNAVAILABLE"


class NotConfigured(Unavailable):
    """The operator has not set up what this endpoint needs. Trying again does not help."""

    status = 501
    code = "NOT_CONFIGURED"


class LaneOff(Unavailable):
    """The lane is configured but switched off, for example because its credential is missing."""

    code = "LANE_OFF"


class PluginFailed(Unavailable):
    """The plugin behind this lane or operation did not load."""

    code = "PLUGIN_FAILED"


class DatabaseAway(Unavailable):
    """The database does not answer. Calls in flight finish; new calls are refused."""

    code = "DATABASE_AWAY"


class DatabaseBusy(DatabaseAway):
    """The database answers, but another transaction holds the account's lock for too long."""

    code = "DATABASE_BUSY"


class StatementTooSlow(DatabaseAway):
    """The database answers, but cancelled a statement that took too long."""

    code = "DATABASE_TOO_SLOW"


class Overloaded(Unavailable):
    """The maximum number of calls is in flight."""

    code = "OVERLOADED"


class Stopping(Unavailable):
    """The gateway is shutting down."""

    code = "STOPPING"

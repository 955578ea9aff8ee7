"""Errors after which no retry of the same work makes sense."""

from __future__ import annotations

#: Statuses of errors that come back however often the same work is tried: for jobs, and for re-embedding.
FINAL_STATUSES = frozenset({400, 401, 402, 403, 404, 409, 413, 422})

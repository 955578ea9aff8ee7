"""Calls without a store of blobs."""

from __future__ import annotations

from typing import Any, cast

from kaixu.metering.call_blobs import CallBlobs


def no_blobs(wire: Any) -> CallBlobs:
    """The blobs of a call that uses none."""
    return CallBlobs(cast(Any, None), "none", None, pool=cast(Any, None), sealer=cast(Any, None), wire=wire)

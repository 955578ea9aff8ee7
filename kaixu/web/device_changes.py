"""Revoking and restoring a device, on the operators' page and on the customers'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.plugin.errors import Unprocessable

from .visits import Visit


async def switch_device(visit: Visit, endpoint: str) -> dict[str, str]:
    """Revoke or restore the device that the form names; the fields of the next page's address.

    Raises `Unprocessable`, `ApiFailure`.
    """
    word = visit.form.get("revoked")
    if word not in ("true", "false"):
        raise Unprocessable("the form does not say whether to revoke or restore", field="revoked")
    key_id, install_id = visit.form.number("api_key_id"), visit.form.raw("install_id")
    body = {"api_key_id": key_id, "install_id": install_id, "revoked": word == "true"}
    await visit.api.send("PATCH", endpoint, body)
    return {"done": "revoked" if word == "true" else "restored", "done_id": f"{key_id}:{install_id}"}


def switched_device(visit: Visit, listed: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The device that the form before has revoked, if it is on this page and still revoked: what Undo gives back."""
    sent = visit.query.get("done_id")
    same = (one for one in listed if f"{one['api_key_id']}:{one['install_id'] or ''}" == sent)
    return next((one for one in same if one["revoked_at"] is not None), None)

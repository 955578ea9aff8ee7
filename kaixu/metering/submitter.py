"""Who submits what a call of an integration submits."""

from __future__ import annotations

import msgspec


class Submitter(msgspec.Struct, frozen=True):
    """Whose jobs a call submits: those of its customer and key; None: of nobody."""

    request_id: str
    customer_id: int | None = None
    key_id: int | None = None
    install_id: str | None = None
    app_id: str | None = None
    build_id: str | None = None

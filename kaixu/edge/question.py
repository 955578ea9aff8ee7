"""A page that asks something before it is done."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Question(msgspec.Struct, frozen=True):
    """What is asked before something is finished that was begun in another browser.

    `hidden`: what the answer repeats.
    """

    title: str
    text: str
    action: str
    hidden: Mapping[str, str]

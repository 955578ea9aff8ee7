"""What the API refused, as a notice on a page."""

from __future__ import annotations

from kaixu.plugin.errors import Unprocessable

from .api_calls import ApiFailure
from .components import Notice
from .formats import plain_text, sentence


def failure_notice(failure: ApiFailure | Unprocessable) -> Notice:
    """The message and its hint, for a change that has no form to be shown again."""
    return Notice(state="bad", text=sentence(failure.message), hint=plain_text(failure.hint))

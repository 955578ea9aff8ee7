"""What commands of packages read of a gateway's answers."""

from __future__ import annotations

import httpx
import pytest

from kaixu.plugin import CommandError, json_object


def test_an_object_is_read() -> None:
    assert json_object(httpx.Response(200, content=b'{"ok": true}')) == {"ok": True}


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b"null", b"\xff", b'{"a": '])
def test_anything_else_is_said_and_no_traceback(content: bytes) -> None:
    with pytest.raises(CommandError, match="the answer is not JSON") as failure:
        json_object(httpx.Response(200, content=content))
    assert failure.value.hint == "Is it a kAIxU Gateway?"

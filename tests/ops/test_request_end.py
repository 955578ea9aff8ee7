"""The record of a request's end."""

from __future__ import annotations

from kaixu.ops.request_end import MAX_PATH, cleaned_path, shown_path


def test_long_paths_of_scanners_are_cut_before_they_are_cached() -> None:
    cleaned_path.cache_clear()
    assert {shown_path("/" + "a" * 60_000 + str(number)) for number in range(100)} == {"/" + "a" * (MAX_PATH - 1)}
    assert cleaned_path.cache_info().currsize == 1
    assert shown_path("/v1/kx_live_abcdefgh/x") == "/v1/kx_…/x"

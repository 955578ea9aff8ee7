"""The order in which the files run, see `pytest_collection_modifyitems`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import LONG_FILES


@pytest.mark.parametrize("name", LONG_FILES)
def test_long_files_exist(name: str) -> None:
    assert (Path(__file__).parent / name).is_file()

"""docs/plugins.md, run word for word in a clean virtual environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import free_port

from .pages import MARK, ROOT, blocks, run, same_shape, text_of

PAGE = text_of("docs/plugins.md")

#: What pip needs to reach the registry from here, if it needs anything.
REGISTRY = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "UV_"))}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of this version."""
    folder = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return folder


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In place of pytest's own: the embedded Postgres runs as somebody else, and each start of pytest closes that one."""
    folder = Path(tempfile.mkdtemp(prefix="kaixu-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_newcomer_follows_the_page_from_nothing_to_an_integration_and_a_lane(
    wheels: Path, tmp_path: Path
) -> None:
    gateway, vendor = str(free_port()), str(free_port())
    commands = [one.replace("8787", gateway).replace("9000", vendor) for one in blocks(PAGE, "sh")]
    links = " ".join([str(wheels), REGISTRY.get("PIP_FIND_LINKS", "")]).strip()
    environment = REGISTRY | {"PIP_FIND_LINKS": links, "KAIXU_BIND": f"127.0.0.1:{gateway}"}
    try:
        printed = await run(commands, tmp_path, environment)
    except AssertionError as error:
        logs = [path.read_text()[-3000:] for path in tmp_path.glob("*.log")]
        raise AssertionError("\n".join([str(error).replace(MARK, "\n---\n"), *logs])) from None
    started, *said, integration, left, read, lane, _, chat, built, _ = printed
    assert "lanes        0" in started
    assert " passed" in integration
    assert " passed" in lane
    real = [json.loads(one) for one in (*said, left, read, chat)]
    shown = [json.loads(one) for one in blocks(PAGE, "json")]
    assert real[:-1] == shown[:-1]
    same_shape(shown[-1], real[-1])
    assert real[-1]["output_text"] == shown[-1]["output_text"]
    assert real[-1]["usage"] == shown[-1]["usage"]
    for name in ("acme", "notes"):
        assert f"kaixu_{name}-0.1.0-py3-none-any.whl" in built
    files = [path.read_text() for name in ("acme", "notes") for path in (tmp_path / f"kaixu-{name}").rglob("*.py")]
    for block in blocks(PAGE, "python"):
        assert any(block.rstrip() in file for file in files), f"not in what was written:\n{block}"

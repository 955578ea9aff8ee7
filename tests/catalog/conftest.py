"""A folder with a kaixu.yaml and plugins in it, and packages that look installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from kaixu.catalog.build import build
from kaixu.catalog.catalog import Catalog
from kaixu.config.load import load

LANE = """
from kaixu.plugin import Lane, Options, hookimpl

class DemoOptions(Options):
    speed: int = 1

class Demo(Lane):
    def __init__(self, options):
        self.speed = options.speed

    async def chat(self, request, wire):
        yield

@hookimpl
def register_lanes(register):
    register("demo", Demo, DemoOptions)
"""


class Folder:
    """The folder of kaixu.yaml."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str = LANE) -> Path:
        """A file in it."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    def build(self, text: str, *, strict: bool = False, **environ: str) -> Catalog:
        """The catalog of this kaixu.yaml."""
        return build(load(self.write("kaixu.yaml", text), environ), self.path, strict=strict)

    def lane(self, fields: str, *, strict: bool = False, **environ: str) -> Catalog:
        """The catalog of one lane `a` with a chat model `m`."""
        text = f"lanes:\n  a:\n    {fields}\n    models: {{m: {{type: chat, price: {{input: 1, output: 2}}}}}}\n"
        return self.build(text, strict=strict, **environ)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def install(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`install("kaixu-mistral", "mistral", "kaixu_mistral")` fakes a package that pip installed."""
    site = tmp_path_factory.mktemp("site-packages")
    monkeypatch.syspath_prepend(site)

    def installed(project: str, name: str, module: str, code: str = LANE) -> None:
        (site / f"{module.partition(':')[0]}.py").write_text(dedent(code))
        info = site / f"{project.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[kaixu]\n{name} = {module}\n")

    return installed

"""Installation, backups, secrets: the pages name what there is, and their statements work."""

from __future__ import annotations

import re
import tomllib

from pydantic import SecretStr

from kaixu.config.environment import Settings

from .pages import ROOT, blocks, text_of

INSTALLATION, SECRETS, BACKUP = (text_of(f"docs/operators/{name}.md") for name in ("installation", "secrets", "backup"))


def test_every_secret_of_the_environment_has_its_row() -> None:
    names = {
        name.upper()
        for name, field in Settings.model_fields.items()
        if field.annotation in (SecretStr, SecretStr | None)
    }
    assert len(names) > 5
    assert {name for name in names if f"`{name}`" not in SECRETS} == set()


def test_what_the_pages_install_and_copy_is_here() -> None:
    commands = "\n".join(blocks(INSTALLATION, "sh"))
    for lock in re.findall(r"locks/[\w.-]+", commands):
        assert (ROOT / lock).exists(), lock
    for path in re.findall(r"config/deploy/[\w./-]+", INSTALLATION + BACKUP):
        assert (ROOT / path).exists(), path
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", INSTALLATION + BACKUP)) <= targets


def test_the_container_of_the_page_is_that_of_the_image() -> None:
    image = text_of("Containerfile")
    needed = tomllib.loads(text_of("pyproject.toml"))["project"]["requires-python"]
    assert needed == ">=3.11"  # Debian 12's Python, which the image has
    assert "debian:12-slim" in image
    run = next(code for code in blocks(INSTALLATION, "sh") if "podman run" in code)
    assert "VOLUME /data" in image
    assert "-v kaixu-data:/data" in run
    assert "--read-only --tmpfs /tmp" in run

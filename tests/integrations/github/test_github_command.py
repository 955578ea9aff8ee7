"""`kaixu git-push DIR`: what a folder becomes, and what the command says."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

from tests.support.kaixu import run_kaixu

from .pusher import Pusher


async def kaixu(ada: Pusher, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`kaixu git-push …` on a customer's machine."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder.parent), "COLUMNS": "200", "KAIXU_URL": ada.gateway.url,
        "KAIXU_KEY": ada.key, "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }  # fmt: skip
    return await asyncio.to_thread(
        run_kaixu, "git-push", str(folder), *words, environment=environment, folder=folder.parent
    )


def site(folder: Path) -> Path:
    """A folder with files of every kind."""
    (folder / "src").mkdir(parents=True)
    (folder / "README.md").write_text("# Hello\n")
    (folder / "src" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "src" / "run.sh").chmod(0o755)
    (folder / "latest").symlink_to("src")
    (folder / ".gitignore").write_text("*.log\nbuild/\n")
    (folder / "noise.log").write_text("noise")
    for left_out in (".git", "node_modules", "build"):
        (folder / left_out).mkdir()
        (folder / left_out / "inner").write_text("inner")
    return folder


async def test_a_folder_becomes_one_commit_with_modes_links_and_without_what_is_ignored(
    ada: Pusher, tmp_path: Path
) -> None:
    folder = site(tmp_path / "site")
    done = await kaixu(ada, "--repo", ada.repo, "--message", "From the shell", folder=folder)
    assert done.returncode == 0, done.stderr
    commit = ada.server.git(ada.repo, "rev-parse", "main")
    assert done.stdout.splitlines()[-1] == f"commit {commit[:7]}: {ada.server.url}/{ada.repo}/commit/{commit}"
    assert {path: mode for path, (mode, _) in ada.server.files(ada.repo).items()} == {
        ".gitignore": "100644", "README.md": "100644", "latest": "120000", "src/run.sh": "100755",
    }  # fmt: skip
    assert ada.server.log(ada.repo) == ["From the shell"]
    again = await kaixu(ada, "--repo", ada.repo, folder=folder)
    assert again.stdout.splitlines()[-1].startswith("nothing had changed: "), again
    (folder / "README.md").unlink()
    replaced = await kaixu(ada, "--repo", ada.repo, "--replace", folder=folder)
    assert replaced.returncode == 0, replaced.stderr
    assert "README.md" not in ada.server.files(ada.repo)


async def test_what_it_refuses_and_what_the_gateway_refuses_is_said(ada: Pusher, tmp_path: Path) -> None:
    folder = site(tmp_path / "site")
    for words, problem in (
        (("--repo", "nonsense"), "--repo is OWNER/NAME"),
        (("--repo", f"{ada.login}/unknown"), "GitHub does not find this repository"),
    ):
        refused = await kaixu(ada, *words, folder=folder)
        assert refused.returncode == 1
        assert problem in refused.stderr, refused
    shown = await kaixu(ada, "--repo", ada.repo, "--dry-run", folder=folder)
    assert "4 files; nothing was sent" in shown.stdout
    assert not ada.server.git(ada.repo, "for-each-ref")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "there are no files in this folder" in (await kaixu(ada, "--repo", ada.repo, folder=empty)).stderr
    await ada.call("DELETE", "github-token")
    assert "No GitHub token is stored" in (await kaixu(ada, "--repo", ada.repo, folder=folder)).stderr

"""`kaixu push DIR --project P`, as a customer runs it: with a URL and a key, and nothing else."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.kaixu import run_kaixu

from .stand_in import Fault, later
from .station import Station, sha1


def folder_with(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


async def kaixu(station: Station, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`kaixu push` on the customer's machine."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "COLUMNS": "200", "KAIXU_URL": station.gateway.url,
        "KAIXU_KEY": station.key,
    }  # fmt: skip
    return await asyncio.to_thread(run_kaixu, "push", *words, environment=environment, folder=folder)


SITE = {
    "index.html": b"<h1>hello</h1>",
    "_headers": b"/*\n  x-a: b\n",
    "_redirects": b"/old /new\n",
    ".well-known/security.txt": b"contact: me\n",
    "assets/app.js": b"alert(1)",
    "assets/app.js.map": b"{}",
    "drafts/one.html": b"not yet",
    "drafts/keep.html": b"but this",
    "node_modules/x/index.js": b"no",
    ".git/config": b"no",
    ".env": b"SECRET=1",
    ".kaixuignore": b"# comment\n*.map\ndrafts/*\n!drafts/keep.html\n_*\n",
}
KEPT = [
    ".well-known/security.txt", "_headers", "_redirects", "assets/app.js", "drafts/keep.html", "index.html"
]  # fmt: skip


async def test_a_folder_is_published_without_what_is_ignored(station: Station, tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "site", SITE)
    (folder / "link.html").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("not of this site")
    dry = await kaixu(station, tmp_path, "site", "--project", "blog", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert [line.split()[1].lstrip("/") for line in dry.stdout.splitlines()[:-1]] == KEPT
    assert "nothing was sent" in dry.stdout
    assert [one for one in station.netlify.requests if one[0] in ("POST", "PUT")] == []
    done = await kaixu(station, tmp_path, "site", "--project", "blog", "--title", "Spring")
    assert done.returncode == 0, done.stderr
    assert f"live: https://{station.site}.example.net" in done.stdout
    published = station.netlify.sites[station.site].published
    assert published == {path: sha1(SITE[path]) for path in KEPT}
    again = await kaixu(station, tmp_path, "site", "--project", "blog")
    assert "6 files, 0 of them new to Netlify" in again.stdout, again.stderr
    assert (await station.bill())["deploys_ready"] == 2


async def test_limits_are_told_before_the_first_byte(station: Station, tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "site", {"a.html": b"a" * 100, "b.html": b"b" * 100})
    project = {
        "customer_id": station.customer_id,
        "project_id": "small",
        "name": "Small",
        "netlify_site_id": station.site,
    }
    await station.operator("POST", "admin-push-projects", {**project, "most_files": 1})
    many = await kaixu(station, tmp_path, str(folder), "--project", "small")
    assert (many.returncode, "2 files are too many" in many.stderr) == (1, True)
    await station.operator("POST", "admin-push-projects", {**project, "most_files": 2, "most_bytes": 199})
    large = await kaixu(station, tmp_path, str(folder), "--project", "small")
    assert (large.returncode, "200 bytes are too many" in large.stderr) == (1, True)
    none = await kaixu(station, tmp_path, str(folder), "--project", "other")
    assert (none.returncode, "Project not found for this customer" in none.stderr) == (1, True)
    assert [one for one in station.netlify.requests if one[0] in ("POST", "PUT")] == []
    missing = await kaixu(station, tmp_path, "nowhere", "--project", "blog")
    assert (missing.returncode, "nowhere is no folder" in missing.stderr) == (1, True)


async def test_what_passes_is_sent_again_and_an_interrupted_push_is_resumed(
    station: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = bytes(range(256)) * 70_000  # 17.9 MB: three parts
    folder = folder_with(tmp_path / "site", {"a.html": b"a", "big.bin": big})
    station.netlify.fault("put", Fault(401))
    broken = await kaixu(station, tmp_path, "site", "--project", "blog", "--at-once", "1")
    assert broken.returncode == 1
    assert "Netlify API error 401" in broken.stderr
    push_id = broken.stderr.partition("--resume ")[2].partition("`")[0]
    station.netlify.fault("put", Fault(429, headers=later()), None, Fault(when="body"))
    resumed = await kaixu(station, tmp_path, "site", "--project", "blog", "--resume", push_id)
    assert resumed.returncode == 0, resumed.stderr
    [deploy] = station.netlify.deploys.values()
    assert station.netlify.uploads_of(deploy.id) == {sha1(b"a"): 1, sha1(big): 1}
    (folder / "a.html").write_bytes(b"changed")
    over = await kaixu(station, tmp_path, "site", "--project", "blog", "--resume", push_id)
    assert over.returncode == 0  # it is live; nothing is required

"""The command `kaixu git-push`: push a folder to GitHub through a gateway, as one commit."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import httpx
import typer
from pathspec import GitIgnoreSpec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from kaixu.plugin import CommandError, GatewayClient, json_object

#: What belongs into no commit. The ignore file can take others in again, with `!`; never `.git`.
USUAL = ("node_modules/", ".DS_Store", "__MACOSX/")

#: A ZIP is sent in parts of this size.
PART_BYTES = 8 * 2**20

#: Answers after which a request is sent again, how often, and the longest pause.
LATER = (429, 502, 503, 504)
MOST_TRIES = 12
MOST_WAIT_S = 60.0

#: How long a push is waited for, and the pauses between two looks.
PUSH_S = 24 * 3600.0
FIRST_LOOK_S, MOST_LOOK_S = 0.2, 2.0


def git_push(
    gateway: GatewayClient,
    folder: Annotated[Path, typer.Argument(help="The folder to push.", metavar="DIR")],
    repo: Annotated[str, typer.Option(help="The repository, as OWNER/NAME.")],
    branch: Annotated[str, typer.Option(help="The branch; a new one begins at the default branch.")] = "main",
    message: Annotated[str, typer.Option(help="What the commit says.")] = "kaixu git-push",
    replace: Annotated[bool, typer.Option("--replace", help="Remove files that the folder does not have.")] = False,
    pull_request: Annotated[
        bool, typer.Option("--pull-request", help="Open a pull request instead of pushing to the branch.")
    ] = False,
    allow_secrets: Annotated[
        bool, typer.Option("--allow-secrets", help="Push files that look as if they had secrets.")
    ] = False,
    ignore_file: Annotated[str, typer.Option(help="A file in DIR that says what is left out.")] = ".gitignore",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be pushed, and send nothing.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until the commit is on the branch.")] = True,
) -> None:
    """Push a folder to GitHub as one commit."""
    owner, slash, name = repo.partition("/")
    if not owner or not slash or not name or "/" in name:
        raise CommandError("--repo is OWNER/NAME", hint="Such as --repo octocat/site.")
    files = list(files_of(folder, ignore_file))
    if not files:
        raise CommandError("there are no files in this folder", hint="Is everything in the ignore file?")
    if dry_run:
        for path, place in files:
            typer.echo(f"{place.lstat().st_size:>12}  {path}")
        typer.echo(f"{len(files)} files; nothing was sent")
        return
    body = {
        "owner": owner,
        "repo": name,
        "branch": branch,
        "message": message,
        "mode": "replace" if replace else "merge",
        "allow_secrets": allow_secrets,
        "pull_request": pull_request,
    }
    with tempfile.TemporaryFile() as archive:
        pack(files, archive)
        size = archive.tell()
        job = json_object(sent(gateway, "POST", "/v1/github/pushes", body=body))["jobId"]
        typer.echo(f"push {job}: {len(files)} files, {size} bytes")
        send(gateway, job, archive, size)
    sent(gateway, "POST", f"/v1/github/pushes/{job}/complete", body={})
    if not wait:
        typer.echo("all is sent; the gateway pushes it")
        return
    typer.echo(outcome(landed(gateway, job)))


def files_of(folder: Path, ignore_file: str) -> Iterator[tuple[str, Path]]:
    """The files below a folder that are pushed, by path. Raises `CommandError`."""
    if not folder.is_dir():
        raise CommandError(f"{folder} is no folder", hint="Give the folder to push, such as `.`.")
    spec = ignoring(folder, ignore_file)
    for where, names, leaves in os.walk(folder):
        below = Path(where).relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        links = [name for name in names if Path(where, name).is_symlink()]
        names[:] = sorted(
            name for name in names if name != ".git" and name not in links and not spec.match_file(f"{prefix}{name}/")
        )
        for name in sorted([*leaves, *links]):
            place = Path(where, name)
            kind = stat.S_IFMT(place.lstat().st_mode)
            if name != ".git" and kind in (stat.S_IFREG, stat.S_IFLNK) and not spec.match_file(prefix + name):
                yield prefix + name, place


def ignoring(folder: Path, ignore_file: str) -> GitIgnoreSpec:
    """What is left out. Raises `CommandError`."""
    lines = [*USUAL]
    try:
        lines += (folder / ignore_file).read_text().splitlines()
    except FileNotFoundError:
        pass
    except (OSError, UnicodeError) as error:
        raise CommandError(f"{ignore_file} cannot be read: {type(error).__name__}") from None
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise CommandError(f"{ignore_file} has a pattern that is none: {error}") from None


def pack(files: list[tuple[str, Path]], target: BinaryIO) -> None:
    """Write a ZIP with modes and symbolic links; the same files make the same ZIP. Raises `CommandError`."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, place in files:
            mode = place.lstat().st_mode
            entry = zipfile.ZipInfo(path)
            entry.create_system, entry.compress_type = 3, zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFMT(mode) | (0o755 if mode & 0o100 else 0o644)) << 16
            try:
                content = os.readlink(place).encode() if stat.S_ISLNK(mode) else place.read_bytes()
                archive.writestr(entry, content)
            except (OSError, UnicodeError) as error:
                raise CommandError(f"{path} cannot be read: {type(error).__name__}") from None


def send(gateway: GatewayClient, job: str, archive: BinaryIO, size: int) -> None:
    """Send the ZIP in parts."""
    parts = -(-size // PART_BYTES)
    archive.seek(0)
    columns = (TextColumn("sending"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("sending", total=size)
        for part in range(parts):
            piece = archive.read(PART_BYTES)
            query = {"part": part, "parts": parts}
            sent(gateway, "PUT", f"/v1/github/pushes/{job}/part", content=piece, query=query)
            progress.advance(task, len(piece))


def landed(gateway: GatewayClient, job: str) -> dict[str, Any]:
    """The push, once it has ended. Raises `CommandError` where it takes too long."""
    ends_at, pause_s = time.monotonic() + PUSH_S, FIRST_LOOK_S
    with Console(stderr=True).status("pushing") as shown:
        while time.monotonic() < ends_at:
            push: dict[str, Any] = json_object(sent(gateway, "GET", f"/v1/github/pushes/{job}"))["job"]
            if push["status"] in ("done", "error"):
                return push
            waits = push["status"] == "retry_wait" and push["last_error"]
            shown.update(f"waiting: {push['last_error']}" if waits else str(push["status"]))
            time.sleep(pause_s)
            pause_s = min(MOST_LOOK_S, pause_s * 1.5)
    raise CommandError("the push has not ended in time", hint=f"It goes on: GET /v1/github/pushes/{job} says how.")


def outcome(push: dict[str, Any]) -> str:
    """What has become of a push. Raises `CommandError` for one that failed."""
    if push["status"] == "error":
        raise CommandError(str(push["last_error"] or "the push failed"), code=push["error_code"] or "")
    if push["unchanged"]:
        return f"nothing had changed: {push['result_url']}"
    if push["pull_request_url"]:
        return f"pull request: {push['pull_request_url']}"
    return f"commit {push['result_commit_sha'][:7]}: {push['result_url']}"


def sent(gateway: GatewayClient, method: str, path: str, **request: Any) -> httpx.Response:
    """An answer of the gateway; what passes by itself is waited for. Raises `CommandError`."""
    for tried in range(1, MOST_TRIES + 1):
        answer = gateway.send(method, path, accept=LATER if tried < MOST_TRIES else (), **request)
        if answer.status_code not in LATER:
            return answer
        told_s = answer.headers.get("retry-after", "")
        time.sleep(min(MOST_WAIT_S, float(told_s) if told_s.isdecimal() else 0.5 * 2 ** (tried - 1)))
    raise AssertionError("the last try returns or raises")

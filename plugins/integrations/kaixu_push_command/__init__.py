"""The command `kaixu push`: publish a folder at Netlify through a gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kaixu.plugin import CommandError, GatewayClient

from .folder import Folder, read_folder
from .sending import Sender


def push(
    gateway: GatewayClient,
    folder: Annotated[Path, typer.Argument(help="The folder with the finished site.", metavar="DIR")],
    project: Annotated[str, typer.Option(help="The project, as your gateway knows it.")],
    branch: Annotated[str, typer.Option(help="The name of the branch that the site comes from.")] = "main",
    title: Annotated[str, typer.Option(help="What Netlify calls the deploy.")] = "kaixu push",
    ignore_file: Annotated[str, typer.Option(help="A file in DIR that says what is left out, as .gitignore does.")] = (
        ".kaixuignore"
    ),
    resume: Annotated[
        str, typer.Option(help="The id of a push that was interrupted; its files must be the same.")
    ] = "",
    at_once: Annotated[int, typer.Option(min=1, max=10, help="Files sent at the same time.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be published, and send nothing.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until the site is live.")] = True,
) -> None:
    """Publish a folder at Netlify."""
    limits = gateway.json("GET", f"/v1/push/projects/{quoted(project)}/limits")
    found = read_folder(folder, ignore_file)
    require_limits(found, limits)
    if dry_run:
        show(found)
        return
    sender = Sender(gateway, found, at_once)
    if resume:
        sender.resume(resume)
    else:
        sender.begin(project, branch, title)
    typer.echo(f"push {sender.push_id}: {len(found.files)} files, {len(sender.required)} of them new to Netlify")
    try:
        sender.send()
    except (CommandError, KeyboardInterrupt):
        typer.echo(f"interrupted; `--resume {sender.push_id}` goes on where it stopped", err=True)
        raise
    if not wait:
        sender.complete()
        typer.echo("all files are sent; Netlify publishes them")
        return
    typer.echo(f"live: {sender.published()}")


def quoted(project: str) -> str:
    """A project as a part of a path."""
    from urllib.parse import quote

    return quote(project, safe="")


def require_limits(found: Folder, limits: dict[str, int]) -> None:
    """Raises `CommandError` where the folder is more than the gateway takes, before anything is sent."""
    if not found.files:
        raise CommandError("there are no files in this folder", hint="Is everything in the ignore file?")
    if len(found.files) > limits["most_files"]:
        raise CommandError(
            f"{len(found.files)} files are too many: a push to this project has at most {limits['most_files']}",
            hint="Leave some out, or ask your operator for a higher limit.",
        )
    if found.size > limits["most_bytes"]:
        raise CommandError(
            f"{found.size} bytes are too many: a push to this project has at most {limits['most_bytes']}",
            hint="Leave some out, or ask your operator for a higher limit.",
        )
    large = [path for path, file in found.files.items() if file.size > limits["most_file_bytes"]]
    if large:
        raise CommandError(
            f"{large[0]} is too large: a file has at most {limits['most_file_bytes']} bytes", hint="Leave it out."
        )


def show(found: Folder) -> None:
    """What would be published."""
    for path, file in found.files.items():
        typer.echo(f"{file.size:>12}  {path}")
    typer.echo(f"{len(found.files)} files, {found.size} bytes; {found.ignored} left out; nothing was sent")

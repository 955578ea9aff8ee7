"""Sends the files that Netlify requires through the gateway, several at a time, and waits for the site."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from kaixu.plugin import CommandError, GatewayClient, json_object

from .folder import Folder, SiteFile

#: Larger files are sent in parts of this size.
PART_BYTES = 8 * 2**20

#: Answers after which a request is sent again, how often, and the longest pause.
LATER = (409, 429, 502, 503, 504)
MOST_TRIES = 12
MOST_WAIT_S = 60.0

#: Codes of 409 that pass by themselves.
PASSING = ("FILE_BUSY", "NOT_PREPARED")

#: How long a file in parts, and a site, is waited for.
FILE_S = 3600.0
SITE_S = 1800.0

UNDER_WAY = ("queued", "assembling", "retry_wait", "error_transient", "blocked_cap", "uploading")
PREPARING = ("creating", "new", "pending_review", "accepted", "enqueued", "preparing")


class Sender:
    """One push."""

    def __init__(self, gateway: GatewayClient, folder: Folder, at_once: int) -> None:
        self.gateway = gateway
        self.folder = folder
        self.at_once = at_once
        self.push_id = ""
        self.required: list[str] = []

    def begin(self, project: str, branch: str, title: str) -> None:
        """Begin a push, and learn what Netlify requires."""
        body = {
            "projectId": project,
            "branch": branch,
            "title": title,
            "files": {path: file.sha1 for path, file in self.folder.files.items()},
        }
        answer = self.gateway.send("POST", "/v1/push/pushes", body=body, accept={504})
        begun = json_object(answer)
        if answer.status_code == 504 and begun.get("code") != "NETLIFY_PREPARING":
            raise CommandError(str(begun.get("error", "the gateway does not answer in time")))
        self.push_id = begun["pushId"]
        self.required = begun["required"] if answer.status_code == 200 else self.missing()

    def resume(self, push_id: str) -> None:
        """Go on with a push."""
        self.push_id = push_id
        self.required = self.missing()

    def missing(self) -> list[str]:
        """What Netlify still requires, once it says so. Raises `CommandError` for a push that has failed."""
        for _ in range(int(SITE_S)):
            push = self.status()
            if push["state"] in ("error", "cancelled", "expired", "unknown"):
                raise CommandError(f"this push has ended: {push['error']}", hint="Begin a new one, without --resume.")
            if push["state"] not in PREPARING:
                uploaded = set(push["uploaded_digests"])
                return [sha1 for sha1 in push["required_digests"] if sha1 not in uploaded]
            time.sleep(1)
        raise CommandError("Netlify does not say which files it requires", hint=f"Try --resume {self.push_id} later.")

    def status(self) -> dict[str, Any]:
        """The push as the gateway knows it."""
        push: dict[str, Any] = json_object(self.sent("GET", f"/v1/push/pushes/{self.push_id}"))["push"]
        return push

    def send(self) -> None:
        """Send all that is required. Raises the first `CommandError`, after what is on its way."""
        by_digest = {file.sha1: (path, file) for path, file in self.folder.files.items()}
        unknown = [sha1 for sha1 in self.required if sha1 not in by_digest]
        if unknown:
            raise CommandError(
                "the folder has changed since the push began", hint="Begin a new push, without --resume."
            )
        wanted = [by_digest[sha1] for sha1 in self.required]
        with bar(sum(file.size for _, file in wanted)) as (progress, task):
            with ThreadPoolExecutor(self.at_once) as pool:
                running = [pool.submit(self.send_file, path, file, progress, task) for path, file in wanted]
                done, rest = wait(running, return_when=FIRST_EXCEPTION)
                for one in rest:
                    one.cancel()
            for one in done:
                one.result()

    def send_file(self, path: str, file: SiteFile, progress: Progress, task: TaskID) -> None:
        """Send one file, in parts if it is large."""
        if file.size <= PART_BYTES:
            self.sent(
                "PUT", f"/v1/push/pushes/{self.push_id}/file", content=file.place.read_bytes(),
                query={"path": path}, headers={"x-content-sha1": file.sha1},
            )  # fmt: skip
            progress.advance(task, file.size)
            return
        parts = -(-file.size // PART_BYTES)
        query: dict[str, str | int] = {"path": path, "sha1": file.sha1, "parts": parts}
        with file.place.open("rb") as opened:
            for part in range(parts):
                piece = opened.read(PART_BYTES)
                self.sent("PUT", f"/v1/push/pushes/{self.push_id}/part", content=piece, query={**query, "part": part})
                progress.advance(task, len(piece))
        self.sent(
            "POST", f"/v1/push/pushes/{self.push_id}/assemble",
            body={"path": path, "sha1": file.sha1, "parts": parts},
        )  # fmt: skip
        self.wait_for_file(path, file)

    def wait_for_file(self, path: str, file: SiteFile) -> None:
        """Return when Netlify has a file in parts. Raises `CommandError`."""
        ends_at = time.monotonic() + FILE_S
        pause_s = 0.2
        while time.monotonic() < ends_at:
            answer = self.sent("GET", f"/v1/push/pushes/{self.push_id}/file", query={"sha1": file.sha1})
            job = json_object(answer)["job"]
            if job["status"] == "done":
                return
            if job["status"] not in UNDER_WAY:
                raise CommandError(f"{path} could not be sent: {job['error'] or job['status']}")
            time.sleep(pause_s)
            pause_s = min(2.0, pause_s * 1.5)
        raise CommandError(f"{path} was not sent in time", hint=f"Try --resume {self.push_id} later.")

    def complete(self) -> None:
        """Say that all is sent."""
        self.sent("POST", f"/v1/push/pushes/{self.push_id}/complete", body={})

    def published(self) -> str:
        """The address of the site, once it is live. Raises `CommandError` where it never will be."""
        self.complete()
        ends_at = time.monotonic() + SITE_S
        while time.monotonic() < ends_at:
            push = self.status()
            if push["state"] == "ready":
                return str(push["url"])
            if push["state"] in ("error", "cancelled", "expired", "unknown"):
                raise CommandError(f"Netlify has not published it: {push['error'] or push['state']}")
            time.sleep(1)
        raise CommandError("Netlify has not published it in time", hint="The push goes on; look at your dashboard.")

    def sent(self, method: str, path: str, **request: Any) -> httpx.Response:
        """An answer that is a success; what passes by itself is sent again. Raises `CommandError`."""
        for number in range(1, MOST_TRIES + 1):
            try:
                answer = self.gateway.send(method, path, **request, accept=LATER)
            except CommandError as error:
                if error.status is not None or number == MOST_TRIES:
                    raise
                time.sleep(min(MOST_WAIT_S, 0.5 * 2**number))
                continue
            if answer.is_success:
                return answer
            passes = answer.status_code != 409 or json_object(answer).get("code") in PASSING
            if not passes or number == MOST_TRIES:
                break
            time.sleep(min(MOST_WAIT_S, wait_of(answer) or 0.5 * 2**number))
        return self.gateway.send(method, path, **request)  # raises what the gateway says


def wait_of(answer: httpx.Response) -> float:
    """How long the gateway wants to be left alone."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


@contextmanager
def bar(total: int) -> Iterator[tuple[Progress, TaskID]]:
    """A bar of bytes on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("sending"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        yield progress, progress.add_task("sending", total=total)

"""A stand-in of GitHub: git's own server, REST and OAuth over the same bare repositories, strict about tokens."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from . import stand_in_oauth, stand_in_rest
from .description import problems
from .http_backend import PERSON, git, git_backend

Respond = Callable[[web.Request], Awaitable[web.Response] | web.Response]


@dataclass
class Account:
    """Somebody at GitHub. `scopes` None: the token is fine-grained, and shows none."""

    login: str
    id: int
    scopes: list[str] | None = field(default_factory=lambda: ["repo", "workflow"])
    name: str | None = "Ada Lovelace"
    organizations: tuple[str, ...] = ()


@dataclass
class Fault:
    """What is answered instead, `times` times, to requests of a method whose path contains `part`.

    `after`: so many are let through before. `passes`: the request is handled, and its answer is lost.
    """

    method: str
    part: str
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    times: int = 1
    after: int = 0
    passes: bool = False
    breaks: bool = False
    token: str = ""  # only for requests with this one


class GitHubServer:
    """The stand-in. `problems`: where it or its client was not as GitHub describes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = ""
        self.tokens: dict[str, Account] = {}
        self.private: dict[str, set[str]] = {}  # who may see and change a repository
        self.faults: list[Fault] = []
        self.problems: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.pulls: list[dict[str, Any]] = []
        self.truncates = False
        self.before_push: Callable[[], Awaitable[None]] | None = None
        self.oauth = stand_in_oauth.OAuth(self)
        self.has_git = True

    @property
    def api(self) -> str:
        return f"{self.url}/api/v3"

    def path(self, name: str) -> Path:
        """The bare repository `owner/name`."""
        return self.root / f"{name}.git"

    def exists(self, name: str) -> bool:
        return self.path(name).is_dir()

    def create(self, name: str, *, branch: str = "main") -> Path:
        """An empty repository."""
        path = self.path(name)
        path.mkdir(parents=True)
        run = ["git", "init", "-q", "--bare", f"--initial-branch={branch}", str(path)]
        subprocess.run(run, check=True, env={"PATH": "/usr/bin:/bin", "HOME": str(self.root)})
        for setting in ("http.receivepack true", "uploadpack.allowfilter true", "transfer.fsckObjects true"):
            subprocess.run(["git", "-C", str(path), "config", *setting.split()], check=True)
        return path

    def git(self, name: str, *words: str, stdin: bytes | None = None, check: bool = True) -> str:
        """What git says in a repository."""
        done = subprocess.run(
            ["git", "-C", str(self.path(name)), *words],
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.root), **PERSON},
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr.decode()
        return done.stdout.decode(errors="replace").strip()

    def commit(
        self, name: str, files: dict[str, bytes | None], *, branch: str = "main", message: str = "by hand"
    ) -> str:
        """Somebody else's commit: files that change, or go (None); its id."""
        script = f"commit refs/heads/{branch}\ncommitter S <s@example.com> 1700000000 +0000\ndata {len(message)}\n{message}\n"
        if self.git(name, "rev-parse", "-q", "--verify", f"refs/heads/{branch}", check=False):
            script += f"from refs/heads/{branch}^0\n"
        parts = [script.encode()]
        for path, content in files.items():
            if content is None:
                parts.append(f"D {path}\n".encode())
            else:
                parts.append(f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n")
        self.git(name, "fast-import", "--quiet", stdin=b"".join(parts))
        return self.git(name, "rev-parse", f"refs/heads/{branch}")

    def files(self, name: str, branch: str = "main") -> dict[str, tuple[str, str]]:
        """Mode and id of each file of a branch."""
        lines = self.git(name, "ls-tree", "-r", "-z", branch).split("\0")
        return {line.partition("\t")[2]: (line.split()[0], line.split()[2]) for line in lines if line}

    def log(self, name: str, branch: str = "main") -> list[str]:
        """The subjects of its commits, newest first."""
        return self.git(name, "log", "--format=%s", branch, check=False).splitlines()

    def check(self, name: str) -> None:
        """The repository is sound, in git's own strict opinion."""
        self.git(name, "fsck", "--strict", "--no-dangling")

    def token_of(self, request: web.Request) -> str:
        """The token that came with a request: as Bearer for REST, as Basic for git."""
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind == "Basic":
            user, _, value = base64.b64decode(value).decode().partition(":")
            return value if user == "x-access-token" else ""
        return value if kind in ("Bearer", "token") else ""

    def account(self, request: web.Request) -> Account | None:
        """Whose it is."""
        return self.tokens.get(self.token_of(request))

    def sees(self, account: Account, name: str) -> bool:
        """Whether somebody may see a repository."""
        return self.exists(name) and account.login in self.private.get(name, {account.login})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Every request."""
        path = unquote(request.path)
        self.requests.append((request.method, path))
        fault = self.fault(request, f"{path}?{request.query_string}")
        if fault is not None and fault.breaks:
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError
        if fault is not None and not fault.passes:
            return web.json_response(fault.body or {"message": "fault"}, status=fault.status, headers=fault.headers)
        answer = await self.answer(request, path)
        if fault is not None:
            return web.json_response({"message": "lost"}, status=fault.status)
        return answer

    def fault(self, request: web.Request, path: str) -> Fault | None:
        """The fault that this request meets."""
        token = self.token_of(request)
        for one in self.faults:
            if one.method == request.method and one.part in path and one.token in ("", token):
                if one.after > 0:
                    one.after -= 1
                    continue
                if one.times > 0:
                    one.times -= 1
                    return one
        return None

    async def answer(self, request: web.Request, path: str) -> web.StreamResponse:
        if path.startswith("/login/oauth/"):
            return await self.oauth.answer(request, path)
        if path.startswith("/api/v3/"):
            below = path.removeprefix("/api/v3")
            body = await request.read()
            answer = await stand_in_rest.answer(self, request, below)
            assert isinstance(answer.body, bytes | None)
            query = dict(request.query)
            self.problems += problems(request.method, below, query, body, answer.status, answer.body or b"")
            return answer
        if ".git/" in path and self.has_git:
            return await self.answer_git(request, path)
        return web.Response(status=200, text="<html>GitHub</html>", content_type="text/html")

    async def answer_git(self, request: web.Request, path: str) -> web.Response:
        account = self.account(request)
        if account is None:
            return web.Response(status=401, headers={"www-authenticate": "Basic"}, text="Invalid username or token")
        if not self.sees(account, path[1:].partition(".git/")[0]):
            return web.Response(status=404, text="Repository not found.")
        if path.endswith("git-receive-pack") and request.method == "POST" and self.before_push is not None:
            before, self.before_push = self.before_push, None
            await before()
        return await git_backend(self.root, request, account.login)


__all__ = ["Account", "Fault", "GitHubServer", "git", "github_server", "json"]


@contextmanager
def github_server(root: Path) -> Iterator[GitHubServer]:
    """The stand-in, in a thread of its own."""
    server, loop = GitHubServer(root), asyncio.new_event_loop()
    app = web.Application(client_max_size=256 << 20)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()

    loop.run_until_complete(start())
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

"""A stand-in of Netlify: sites, deploys with their states, digests that are checked, limits, and faults by plan.

Strict: whatever Netlify would refuse is refused here, and every exchange is checked against Netlify's own description.
What it was asked is in `requests`; what went wrong with that is in `mistakes`, which tests require to be empty.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from .description import Description

OPERATOR = "nfp_operator_token_of_the_gateway"

#: What Netlify really sends, also on a 200.
DATE_STYLE = "2022-01-27 22:20:17 UTC"

Answer = tuple[int, Any, dict[str, str]]


class Fault:
    """What happens instead of an answer, or after the work: `status` with headers, or a connection that breaks.

    `when`: "before" the request has any effect; "after" it, so that only the answer is lost; "body": after a part of
    the body was read; "stall": nothing is ever answered.
    """

    def __init__(self, status: int = 0, *, when: str = "before", headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.when = when
        self.headers = dict(headers or {})


def later(seconds: float = 1.0) -> dict[str, str]:
    """`retry-after` as Netlify writes it."""
    return {"retry-after": f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S} UTC"}


def no_fault(what: str) -> Fault | None:
    """Netlify works."""
    return None


class Site:
    """A site, and the contents that Netlify has of it."""

    def __init__(self, tokens: set[str]) -> None:
        self.tokens = tokens
        self.contents: set[str] = set()
        self.published: dict[str, str] = {}


class Deploy:
    """A deploy of a site."""

    def __init__(self, number: int, site_id: str, body: Mapping[str, Any], title: str) -> None:
        self.id = f"{number:024x}"
        self.site_id = site_id
        self.files = {path.lstrip("/"): str(sha1).lower() for path, sha1 in body.get("files", {}).items()}
        self.branch = body.get("branch", "main")
        self.is_draft = bool(body.get("draft"))
        self.title = title
        self.state = "preparing"
        self.required: set[str] = set()
        self.error: str | None = None
        self.looks = 0
        self.created_at = datetime.now(UTC)
        self.published_at: datetime | None = None


class Netlify:
    """`prepares` and `processes`: how often a deploy is looked at before it is prepared, and before it is ready.

    `at_once`: uploads of a token at the same time. `is_checked`: whether exchanges are checked against the description.
    """

    def __init__(self, *, is_checked: bool = True) -> None:
        self.prepares = 1
        self.processes = 1
        self.at_once = 10
        self.chance: Callable[[str], Fault | None] = no_fault  # of a fault that no plan names
        self.fails: str | None = None  # the error with which each deploy ends
        self.sites: dict[str, Site] = {}
        self.users: dict[str, str] = {OPERATOR: "operator"}
        self.deploys: dict[str, Deploy] = {}
        self.plan: dict[str, deque[Fault | None]] = defaultdict(deque)
        self.requests: list[tuple[str, str]] = []
        self.uploads: Counter[tuple[str, str]] = Counter()  # accepted ones, by deploy and digest
        self.bytes_received = 0
        self.user_agents: set[str] = set()
        self.mistakes: list[str] = []
        self.description = Description() if is_checked else None
        self.uploading: Counter[str] = Counter()
        self.most_at_once = 0
        self.port = 0
        self._numbers = count(1)
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> Netlify:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{rest:.*}", self.answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The base of its API."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    def site(self, site_id: str, *tokens: str) -> Site:
        """Make a site that these tokens, and the operator's, reach."""
        for token in tokens:
            self.users.setdefault(token, f"user-{hashlib.sha1(token.encode()).hexdigest()[:12]}")
        self.sites[site_id] = Site({OPERATOR, *tokens})
        return self.sites[site_id]

    def fault(self, what: str, *faults: Fault | None) -> None:
        """The next requests of this kind (`create`, `look`, `list`, `put`, `get_site`, `user`, `cancel`); None: as usual."""
        self.plan[what].extend(faults)

    def uploads_of(self, deploy_id: str) -> dict[str, int]:
        """How often each content was accepted for a deploy."""
        return {sha1: number for (deploy, sha1), number in self.uploads.items() if deploy == deploy_id}

    # Exchanges

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Find what is asked for, let a planned fault happen, and check the exchange."""
        target = request.raw_path.removeprefix("/api/v1")
        self.requests.append((request.method, target))
        self.user_agents.add(request.headers.get("user-agent", ""))
        route = route_of(request.method, target.partition("?")[0])
        if route is None:
            self.mistakes.append(f"no such endpoint: {request.method} {target}")
            return web.json_response({"code": 404, "message": "Not Found"}, status=404)
        what, names = route
        fault = self.plan[what].popleft() if self.plan[what] else self.chance(what)
        if fault is not None and fault.when != "after":
            return await self.fail(request, fault)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        body: bytes | None = b"a file" if what == "put" else await request.read() or None
        if token not in self.users:
            status, answered, headers = refusal(401, "Access Denied")
        else:
            act: Callable[..., Awaitable[Answer]] = getattr(self, what)
            status, answered, headers = await act(request, token, body, *names)
        if fault is not None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        if self.description is not None:
            try:
                self.description.check(request.method, target, request.headers, body, status, answered)
            except Exception as error:  # whatever the description finds wrong
                cause = error.__cause__ or error
                self.mistakes.append(f"{request.method} {target} ({status}): {type(error).__name__}: {error}: {cause}")
        limits = {"x-ratelimit-limit": "500", "x-ratelimit-remaining": "499", "x-ratelimit-reset": DATE_STYLE}
        return web.json_response(answered, status=status, headers=limits | {"retry-after": DATE_STYLE} | headers)

    async def fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        """Answer with a failure, or with none."""
        if fault.when == "stall":
            await asyncio.sleep(3600)
        if fault.when == "body":
            await request.content.read(1000)
        if fault.status:
            await request.read() if request.content_length and request.content_length < 2**20 else None
            return web.json_response(
                {"code": fault.status, "message": "vendor's words"}, status=fault.status, headers=fault.headers
            )
        assert request.transport is not None
        request.transport.abort()
        return web.Response(status=500)

    # What Netlify does

    async def user(self, request: web.Request, token: str, body: bytes | None) -> Answer:
        name = self.users[token]
        return 200, {"id": name, "full_name": name, "email": f"{name}@example.com"}, {}

    async def get_site(self, request: web.Request, token: str, body: bytes | None, site_id: str) -> Answer:
        site = self.sites.get(site_id)
        if site is None or token not in site.tokens:
            return refusal(404, "Not Found")
        return 200, {"id": site_id, "name": site_id}, {}

    async def create(self, request: web.Request, token: str, body: bytes | None, site_id: str) -> Answer:
        site = self.sites.get(site_id)
        if site is None or token not in site.tokens:
            return refusal(404, "Not Found")
        if "branch" in request.query:
            self.mistakes.append("`branch` belongs into the body: in the query it filters lists")
        wanted = json.loads(body or b"{}")
        if any("#" in path or "?" in path for path in wanted.get("files", {})):
            return refusal(422, "Invalid file name")
        deploy = Deploy(next(self._numbers), site_id, wanted, request.query.get("title", ""))
        self.deploys[deploy.id] = deploy
        if not wanted.get("async") or self.prepares == 0:
            self.prepare(deploy)
        return 200, self.view(deploy), {}

    async def look(
        self, request: web.Request, token: str, body: bytes | None, site_id: str | None, deploy_id: str
    ) -> Answer:
        deploy = self.deploys.get(deploy_id)
        if (
            deploy is None
            or (site_id is not None and deploy.site_id != site_id)
            or token not in self.sites[deploy.site_id].tokens
        ):
            return refusal(404, "Not Found")
        deploy.looks += 1
        if deploy.state == "preparing" and deploy.looks >= self.prepares:
            deploy.looks = 0
            self.prepare(deploy)
        elif deploy.state in ("uploaded", "processing"):
            deploy.state = "processing"
            if deploy.looks > self.processes:
                self.publish(deploy)
        return 200, self.view(deploy), {}

    async def list(self, request: web.Request, token: str, body: bytes | None, site_id: str) -> Answer:
        site = self.sites.get(site_id)
        if site is None or token not in site.tokens:
            return refusal(404, "Not Found")
        newest = sorted(
            (one for one in self.deploys.values() if one.site_id == site_id), key=lambda one: one.id, reverse=True
        )
        return 200, [self.view(one) for one in newest[: int(request.query.get("per_page", 100))]], {}

    async def cancel(self, request: web.Request, token: str, body: bytes | None, deploy_id: str) -> Answer:
        deploy = self.deploys.get(deploy_id)
        if deploy is None or token not in self.sites[deploy.site_id].tokens:
            return refusal(404, "Not Found")
        if deploy.state in ("ready", "error"):
            return refusal(422, "Build is already done")
        deploy.state, deploy.error = "error", "Canceled"
        return 201, self.view(deploy), {}

    async def put(self, request: web.Request, token: str, body: bytes | None, deploy_id: str, path: str) -> Answer:
        deploy = self.deploys.get(deploy_id)
        if deploy is None or token not in self.sites[deploy.site_id].tokens:
            return refusal(404, "Not Found")
        if self.uploading[token] >= self.at_once:
            limit = {
                "x-concurrent-limit": str(self.at_once), "x-concurrent-remaining": "0", "x-concurrent-status": "429"
            }  # fmt: skip
            return *refusal(429, "Too many concurrent uploads")[:2], limit | later()
        self.uploading[token] += 1
        self.most_at_once = max(self.most_at_once, self.uploading[token])
        try:
            digest, size = hashlib.sha1(usedforsecurity=False), 0
            async for piece in request.content.iter_any():
                digest.update(piece)
                size += len(piece)
        finally:
            self.uploading[token] -= 1
        if deploy.state in ("ready", "error"):
            return refusal(422, "Build is already done")
        sha1 = digest.hexdigest()
        if deploy.files.get(path) != sha1:
            return refusal(422, "Uploaded file did not match deploy")
        if "size" in request.query and int(request.query["size"]) != size:
            return refusal(422, "Uploaded file did not match its size")
        self.uploads[deploy.id, sha1] += 1
        self.bytes_received += size
        self.sites[deploy.site_id].contents.add(sha1)
        deploy.required.discard(sha1)
        deploy.state = "uploading"
        if not deploy.required:
            self.upload_ended(deploy)
        return 200, {"id": f"/{path}", "path": f"/{path}", "sha": sha1, "size": size}, {}

    def prepare(self, deploy: Deploy) -> None:
        """Compare a deploy's files with what the site has."""
        deploy.required = set(deploy.files.values()) - self.sites[deploy.site_id].contents
        deploy.state = "prepared"
        if not deploy.required:
            self.upload_ended(deploy)

    def upload_ended(self, deploy: Deploy) -> None:
        """All is there: Netlify goes on by itself."""
        deploy.state, deploy.looks = "uploaded", 0
        if self.fails is not None:
            deploy.state, deploy.error = "error", self.fails

    def publish(self, deploy: Deploy) -> None:
        """The site is what the deploy says."""
        deploy.state, deploy.published_at = "ready", datetime.now(UTC)
        if not deploy.is_draft:
            self.sites[deploy.site_id].published = dict(deploy.files)

    def finish(self, deploy_id: str) -> None:
        """Publish at once, without anybody looking."""
        assert self.deploys[deploy_id].state in ("uploaded", "processing")
        self.publish(self.deploys[deploy_id])

    def view(self, deploy: Deploy) -> dict[str, Any]:
        """A deploy as Netlify shows it."""
        shown = {
            "id": deploy.id,
            "site_id": deploy.site_id,
            "user_id": "the-owner-of-the-token",
            "state": deploy.state,
            "name": deploy.site_id,
            "url": f"http://{deploy.site_id}.example.net",
            "ssl_url": f"https://{deploy.site_id}.example.net",
            "admin_url": f"https://app.example.net/sites/{deploy.site_id}",
            "deploy_url": f"http://{deploy.id}--{deploy.site_id}.example.net",
            "deploy_ssl_url": f"https://{deploy.id}--{deploy.site_id}.example.net",
            "draft": deploy.is_draft,
            "required": sorted(deploy.required),
            "required_functions": [],
            "branch": deploy.branch,
            "title": deploy.title,
            "context": "production",
            "created_at": written(deploy.created_at),
            "updated_at": written(deploy.created_at),
        }
        if deploy.error is not None:
            shown["error_message"] = deploy.error
        if deploy.published_at is not None:
            shown["published_at"] = written(deploy.published_at)
        return shown


def written(at: datetime) -> str:
    """A time as Netlify writes it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def refusal(status: int, message: str) -> Answer:
    """Netlify's error."""
    return status, {"code": status, "message": message}, {}


def route_of(method: str, path: str) -> tuple[str, tuple[Any, ...]] | None:
    """What a request asks for, with the names in its path. A file's path has its slashes as they are."""
    if method == "PUT" and path.startswith("/deploys/") and "/files/" in path:
        deploy_id, _, name = path.removeprefix("/deploys/").partition("/files/")
        return "put", (unquote(deploy_id), unquote(name))
    match method, [unquote(part) for part in path.strip("/").split("/")]:
        case "GET", ["user"]:
            return "user", ()
        case "GET", ["sites", site_id]:
            return "get_site", (site_id,)
        case "POST", ["sites", site_id, "deploys"]:
            return "create", (site_id,)
        case "GET", ["sites", site_id, "deploys"]:
            return "list", (site_id,)
        case "GET", ["sites", site_id, "deploys", deploy_id]:
            return "look", (site_id, deploy_id)
        case "GET", ["deploys", deploy_id]:
            return "look", (None, deploy_id)
        case "POST", ["deploys", deploy_id, "cancel"]:
            return "cancel", (deploy_id,)
    return None

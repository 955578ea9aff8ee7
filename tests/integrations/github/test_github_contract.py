"""The contract tests of GitHub push: each function as it succeeds, and from that all that can go wrong."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any
from uuid import UUID

import httpx
import msgspec
from dulwich.repo import MemoryRepo
from dulwich.server import DictBackend
from dulwich.web import HTTPGitApplication
from kaixu_github import INTEGRATION
from kaixu_github.connecting import Start, Wish
from kaixu_github.operators import Limit as RetryLimit
from kaixu_github.operators import Nothing, OnePush
from kaixu_github.options import GitHubOptions
from kaixu_github.push_input import InitBody
from kaixu_github.push_job import Expiry, LastLook, PushJob
from kaixu_github.pushes import AdminLimit, Limit, PartInput, WhichPush, ZipInput
from kaixu_github.repositories import Listing, NewRepository, WhichRepository
from kaixu_github.tokens import Nothing as TokenNothing
from kaixu_github.tokens import TokenBody
from pydantic import SecretStr

from kaixu.plugin import Caller, Returned
from kaixu.plugin.testing import Answer, Example, IntegrationContract, json_answer

from .pusher import zipped

OPERATOR = Caller("operator", "operator", None, "operator@example.com")
OWNER = Caller("key", "owner", "abcd", "ada@example.com")
TOKEN = {"token": "ghp_stored_token_of_ada"}
USER = {"login": "ada", "id": 7, "name": "Ada"}
SHA = "1" * 40
REPO = {
    "id": 1,
    "full_name": "ada/site",
    "private": True,
    "default_branch": "main",
    "html_url": "https://github.com/ada/site",
}
ZIP = zipped({"a.txt": "a", "b.bin": bytes([255, 254])})

#: A push whose job has ended, and which may have landed: its commit is there, or is not.
QUEUE_ID = UUID(int=7)
LANDED = (
    "insert into push (customer_id, key_id, job_id, owner, repo, branch, message, mode, parts, bytes_staged, queue_id, "
    "queued_at, status, error_code, error, planned_commit) values (1, 1, 'gh_1', 'ada', 'site', 'main', 'm', 'merge', 1, "
    f"7, '{QUEUE_ID}', now(), 'queued', 'GITHUB_TRANSIENT', 'GitHub fails', '{SHA}')"
)
LOST = LANDED.replace(SHA, "9" * 40)


def rest(request: httpx.Request) -> Answer:
    """GitHub's REST API, which forgets everything."""
    path, method = request.url.path, request.method
    if path.endswith("/user"):
        return json_answer(USER)
    if "/git/ref/" in path:
        return json_answer({"object": {"sha": SHA}})
    if "/git/commits/" in path:
        return json_answer({"sha": SHA, "tree": {"sha": "2" * 40}, "parents": []})
    if "/git/trees/" in path:
        return json_answer(
            {"sha": "2" * 40, "tree": [{"path": "c", "mode": "100644", "sha": "3" * 40}], "truncated": False}
        )
    if path.endswith("/git/blobs"):
        content = base64.b64decode(msgspec.json.decode(request.content)["content"])
        return json_answer({"sha": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}, 201)
    return json_answer({"sha": "4" * 40}, 201 if method == "POST" else 200)


Before = Sequence[tuple[str, Example]]


class Git:
    """A git server in this process, with one repository, which is new for each push."""

    def __init__(self) -> None:
        self.repository = MemoryRepo()

    def __call__(self, request: httpx.Request) -> Answer:
        if request.url.host == "api.github.com":
            return rest(request)
        body = request.content
        environment = {
            "REQUEST_METHOD": request.method, "PATH_INFO": request.url.path,
            "QUERY_STRING": request.url.query.decode(), "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body), "SERVER_PROTOCOL": "HTTP/1.1",
        }  # fmt: skip
        answered: list[Any] = []
        written: list[bytes] = []

        def start(status: str, headers: list[tuple[str, str]], _: object = None) -> Any:
            answered.append((int(status.split()[0]), dict(headers)))
            return written.append

        served = HTTPGitApplication(DictBackend({"/ada/site.git": self.repository}))  # type: ignore[arg-type]
        content = b"".join(served(environment, start))
        if request.method == "POST" and request.url.path.endswith("git-receive-pack"):
            self.repository = MemoryRepo()
        status, headers = answered[0]
        return Answer(status, headers, [b"".join(written) + content])


def returned(**query: str) -> Returned:
    """A browser that comes back."""
    return Returned(query, "verifier", "https://gateway.example/back", Wish(["repo"]), "/gateway/dashboard", OWNER)


class TestGitHub(IntegrationContract):
    integration = INTEGRATION
    options = GitHubOptions(
        client_id="client", client_secret=SecretStr("client-secret"), write_pause_s=0, transport="rest"
    )
    #: Objects are the same each time, and a branch moves only from where it was read.
    may_arrive_twice = ("https://api.github.com/repos/", "https://github.com/ada/site.git/")
    #: A run of its own has an id and a time of its own, and so the commit of git's protocol.
    changes_on_repeat = (
        "push.job_id", "push.queue_id", "push.queued_at", "push.created_at", "push.updated_at", "push.planned_commit",
        "push.commit", "push.url", "push_event.id", "push_event.created_at", "push_event.meta",
    )  # fmt: skip

    def examples(self) -> Mapping[str, Example | Sequence[Example]]:
        begun = [("github.init", Example(body=InitBody("ada", "site"), secrets=TOKEN))]
        queued = after(begun)
        asked = Example(body=lambda done: WhichPush(job(done)), before=begun)
        return {
            "github.token": [
                Example(body=TokenNothing(), secrets=TOKEN, caller=Caller("key", "viewer", "abcd", "a@example.com")),
                Example(body=TokenNothing()),
            ],
            "github.token-set": Example(body=TokenBody("ghp_a_new_token_of_ada"), wire=[json_answer(USER)]),
            "github.token-clear": Example(body=TokenNothing(), secrets=TOKEN),
            "github.whoami": Example(body=TokenNothing(), secrets=TOKEN, wire=[json_answer(USER)]),
            "github.admin-token": Example(body=TokenNothing(), secrets=TOKEN, caller=OPERATOR),
            "github.admin-token-set": Example(body=TokenBody("ghp_a_new_token_of_ada"), wire=[json_answer(USER)], caller=OPERATOR),
            "github.admin-token-clear": Example(body=TokenNothing(), secrets=TOKEN, caller=OPERATOR),
            "github.repos": Example(body=Listing(0), secrets=TOKEN, wire=[json_answer([REPO])]),
            "github.repo-create": Example(body=NewRepository("site"), secrets=TOKEN, wire=[json_answer(REPO, 201)]),
            "github.branches": Example(
                body=WhichRepository("ada", "site"), secrets=TOKEN, wire=[json_answer([{"name": "main", "commit": {"sha": SHA}}])]
            ),
            "github.admin-repos": Example(body=Listing(1), secrets=TOKEN, wire=[json_answer([REPO])], caller=OPERATOR),
            "github.oauth": Example(body=Start(return_to="/gateway/dashboard")),
            "github.connect": Example(body=TokenNothing()),
            "github.callbacks.account": Example(
                body=returned(code="c1"), wire=[json_answer({"access_token": "gho_token_of_ada", "scope": "repo"}), json_answer(USER)],
                may_fail=(1, 2),
            ),
            "github.init": Example(body=InitBody("ada", "site"), secrets=TOKEN),
            "github.part": Example(body=lambda done: PartInput(job(done), "0", "2"), before=begun, upload=b"part"),
            "github.complete": Example(body=lambda done: WhichPush(job(done)), before=queued[0][1].before),
            "github.status": asked,
            "github.pushes": Example(body=Limit(25), before=begun),
            "github.zip": Example(body=ZipInput("ada", "site"), secrets=TOKEN, upload=ZIP),
            "github.admin-pushes": Example(body=AdminLimit(50), before=begun, caller=OPERATOR),
            "github.admin-retry-get": Example(body=RetryLimit(15), before=queued, caller=OPERATOR),
            "github.admin-retry-post": Example(body=RetryLimit(15), before=queued, caller=OPERATOR),
            "github.admin-cleanup-get": Example(body=Nothing(), before=begun, caller=OPERATOR),
            "github.admin-cleanup-post": Example(body=Nothing(), before=begun, caller=OPERATOR),
            "github.admin-push-retry": Example(body=lambda done: OnePush(job(done)), before=queued, caller=OPERATOR),
            "github.push": [
                Example(body=lambda done: PushJob(job(done)), before=queued, secrets=TOKEN, wire=[rest]),
                Example(
                    body=lambda done: PushJob(job(done)), before=queued, secrets=TOKEN, wire=[Git()],
                    options=GitHubOptions(transport="git"),
                ),
            ],
            "github.look": [
                Example(body=LastLook("gh_1", QUEUE_ID), sql=[LANDED], secrets=TOKEN, wire=[rest]),
                Example(body=LastLook("gh_1", QUEUE_ID), sql=[LOST], secrets=TOKEN, wire=[rest]),
            ],
            "github.expire": Example(
                body=lambda done: Expiry(job(done)), before=begun, options=GitHubOptions(retention_hours=1e-9)
            ),
        }  # fmt: skip


def after(begun: Before) -> Before:
    """What comes before the job of a push: it was begun, sent and completed."""
    part = Example(body=lambda done: PartInput(job(done), "0", "1"), before=begun, upload=ZIP)
    return [("github.complete", Example(body=lambda done: WhichPush(job(done)), before=[("github.part", part)]))]


def job(done: Any) -> str:
    """The id of the push that the result of an operation is about."""
    return str(getattr(done[0], "body", done[0]).jobId)

"""The contract for integrations, on KaixuPush: each function as it succeeds, and from that all that can go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import httpx
from kaixu_push import (
    INTEGRATION,
    assemble,
    begin,
    billing,
    expire,
    history,
    parts,
    projects,
    status,
    tokens,
    uploads,
    watch,
)
from kaixu_push.options import PushOptions

from kaixu.plugin import Caller
from kaixu.plugin.testing import Answer, Example, IntegrationContract, json_answer

from .station import sha1

DATA = b"<h1>hello</h1>"
DIGEST = sha1(DATA)
TOKEN = {"token": "nfp_secret_token_of_the_customer"}
OPERATOR = Caller("operator", "operator", None, "operator@example.com")
NOTHING = tokens.Nothing()
PUSH = "push_0123456789abcdef0123456789abcdef"
API = "https://api.netlify.com/api/v1"


def deploy(state: str, **more: object) -> Answer:
    """A deploy as Netlify shows it, with the nulls that it really sends."""
    shown = {
        "id": "d1", "state": state, "required": [], "url": None, "ssl_url": "https://s1.example.net",
        "error_message": None, "published_at": None, "title": f"kaixu push ({PUSH})", **more,
    }  # fmt: skip
    return json_answer(shown)


def sent_or_seen(request: httpx.Request) -> Answer:
    """What Netlify answers to a file, and to a look."""
    if request.method == "PUT":
        return json_answer({"id": "/a", "path": "/a", "sha": DIGEST})
    return json_answer({"id": "d1", "state": "prepared", "required": [DIGEST]})


def rows(state: str = "prepared", *, file: str = "waiting", parts: str = "null", age: str = "0 s") -> list[str]:
    """A push of one file, as `push-init` writes it."""
    return [
        "insert into project (customer_id, project_id, name, netlify_site_id) values (1, 'blog', 'Blog', 's1')",
        "insert into push (customer_id, key_id, project, push_id, branch, title, site_id, token_source, deploy_id, state, "
        "is_prepared, required_count, reserved_bytes, ends_at, updated_at) "
        f"values (1, 1, 1, '{PUSH}', 'main', 'kaixu push', 's1', 'customer', 'd1', '{state}', true, 1, {len(DATA)}, "
        f"now() + interval '2 days', now() - interval '1 minute')",
        f"insert into push_path (push, path, sha1) values (1, '/a', '{DIGEST}')",
        "insert into push_file (push, sha1, is_required, status, mode, deploy_path, parts, reserved, updated_at) "
        f"values (1, '{DIGEST}', true, '{file}', 'chunked', '/a', {parts}, {len(DATA)}, now() - interval '{age}')",
    ]


def with_parts(file: str, age: str = "0 s") -> list[str]:
    """The same, with its part."""
    return [
        *rows(file=file, parts="1", age=age),
        "insert into push_part (push, sha1, part, reserved, bytes, digest, received_at) "
        f"values (1, '{DIGEST}', 0, {len(DATA)}, {len(DATA)}, '{DIGEST}', now())",
    ]


KEPT = {f"{PUSH}/{DIGEST}/0": DATA}
PROJECT = ["insert into project (customer_id, project_id, name, netlify_site_id) values (1, 'blog', 'Blog', 's1')"]
PUT = [json_answer({"id": "/a", "path": "/a", "sha": DIGEST})]


class TestKaixuPush(IntegrationContract):
    integration = INTEGRATION
    options = PushOptions(first_wait_s=0.01, complete_s=0.3, prepare_s=0.3)
    may_arrive_twice = (f"{API}/deploys/d1/files/", f"{API}/deploys/d1/cancel")
    changes_on_repeat = ("push.updated_at", "push_file.updated_at", "push_file.attempts", "push_file.next_attempt_at")

    def examples(self) -> Mapping[str, Example | Sequence[Example]]:
        which = status.Which(PUSH)
        return {
            "push.token": [
                Example(body=NOTHING),
                Example(
                    body=NOTHING, secrets=TOKEN, wire=[json_answer({"id": "u1"})], may_fail=[1],
                    caller=Caller("key", "owner", "abcd", "ada@example.com"),
                ),
            ],
            "push.token_set": Example(body=tokens.Token("nfp_new_token"), wire=[json_answer({"id": "u1"})], may_fail=[1]),
            "push.token_clear": Example(body=NOTHING, secrets=TOKEN),
            "push.admin_token": Example(body=NOTHING, secrets=TOKEN, caller=OPERATOR),
            "push.admin_token_set": Example(
                body=tokens.Token("nfp_new_token"), wire=[json_answer({"id": "u1"})], may_fail=[1], caller=OPERATOR
            ),
            "push.admin_token_clear": Example(body=NOTHING, secrets=TOKEN, caller=OPERATOR),
            "push.projects": Example(body=NOTHING, sql=PROJECT),
            "push.project_put": Example(
                body=projects.NewProject("blog", "s1"), secrets=TOKEN, wire=[json_answer({"id": "s1"})]
            ),
            "push.project_limits": Example(body=projects.Named("blog"), sql=PROJECT),
            "push.init": Example(
                body=begin.NewPush("blog", files={"/a": DIGEST}), sql=PROJECT, secrets=TOKEN,
                wire=[deploy("preparing"), deploy("prepared", required=[DIGEST])],
            ),
            "push.upload": Example(body=uploads.Upload(PUSH, "/a", DIGEST), sql=rows(), secrets=TOKEN, upload=DATA, wire=PUT),
            "push.chunk": Example(
                body=parts.Chunk(PUSH, "/a", DIGEST, "0", "1"), sql=rows(), secrets=TOKEN, upload=DATA
            ),
            "push.assemble_file": Example(
                body=parts.Complete(PUSH, "/a", DIGEST, 1), sql=with_parts("uploading"), kept=KEPT
            ),
            "push.status": [
                Example(body=which, sql=rows(), secrets=TOKEN, wire=[deploy("ready")], may_fail=[1]),
            ],
            "push.file": Example(body=status.WhichFile(PUSH, DIGEST), sql=with_parts("uploading")),
            "push.complete": [
                Example(body=status.Completion(PUSH), sql=[*rows(), *SENT], secrets=TOKEN),
                Example(
                    body=status.Completion(PUSH, True), sql=[*rows(), *SENT], secrets=TOKEN, wire=[deploy("ready")]
                ),
            ],
            "push.cancel": Example(
                body=which, sql=rows(), secrets=TOKEN, wire=[json_answer({}, status=201), deploy("error")],
                may_fail=[1, 2],
            ),
            "push.billing": Example(body=billing.Asked()),
            "push.invoice": Example(body=billing.Asked()),
            "push.admin_invoices": Example(body=NOTHING, caller=OPERATOR),
            "push.admin_invoice": Example(body=billing.AskedMonth(), caller=OPERATOR),
            "push.admin_projects": Example(body=NOTHING, sql=PROJECT, caller=OPERATOR),
            "push.admin_project_put": Example(body=history.NewProject("blog", "Blog", "s1"), caller=OPERATOR),
            "push.admin_project_change": Example(body=history.ChangedProject(1, name="New"), sql=PROJECT, caller=OPERATOR),
            "push.admin_project_delete": Example(body=history.GoneProject(1), sql=PROJECT, caller=OPERATOR),
            "push.admin_deploys": Example(body=history.AskedDeploys(200), sql=rows(), caller=OPERATOR),
            "push.admin_files": Example(body=history.AskedFiles(200), sql=with_parts("uploading"), caller=OPERATOR),
            "push.admin_retry_file": Example(body=history.OneFile(PUSH, DIGEST), caller=OPERATOR),
            "push.admin_retry_get": Example(body=history.Limit(15), sql=with_parts("retry_wait"), caller=OPERATOR),
            "push.admin_retry_post": Example(body=history.Limit(15), caller=OPERATOR),
            "push.admin_cleanup_get": Example(body=NOTHING, sql=with_parts("uploading", "3 days"), caller=OPERATOR),
            "push.admin_cleanup_post": Example(body=NOTHING, caller=OPERATOR),
            "push.assemble": [
                Example(
                    body=assemble.File(PUSH, DIGEST), sql=with_parts("queued"), kept=KEPT, secrets=TOKEN, wire=[sent_or_seen, sent_or_seen], may_fail=[1],
                ),
            ],
            "push.watch": [
                Example(
                    body=watch.Push(PUSH), sql=rows(), secrets=TOKEN,
                    wire=[deploy("ready", published_at=datetime.now(UTC).isoformat())],
                ),
                Example(body=watch.Push(PUSH), sql=rows(), secrets=TOKEN, wire=[deploy("prepared", required=[DIGEST])]),
                Example(body=watch.Push(PUSH), sql=rows(), secrets=TOKEN, wire=[deploy("error", error_message="no")]),
            ],
            "push.expire": Example(body=expire.Retained(PUSH), sql=with_parts("uploading", "3 days"), kept=KEPT),
        }  # fmt: skip


SENT = [
    "update push_file set status = 'done', bytes = reserved",
    "update push set uploaded_count = 1, reserved_bytes = 14",
]

"""`push-init`: a manifest becomes a deploy at Netlify, which says what it requires."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any

import msgspec

from kaixu.plugin import Body, Call, Failure, Free, Key, Operation

from .errors import bad
from .netlify import Deploy, Netlify
from .options import PushOptions
from .part import Part
from .paths import manifest_of, text_of
from .states import HELD_S, find_push, note
from .tokens import Source, token_for
from .watch import Push

FREE = Free("billed when Netlify publishes")

#: The first pause before the deploy is looked at again, and the longest.
FIRST_LOOK_S = 0.1
LOOK_EVERY_S = 1.2

INSERT = """
    insert into push (customer_id, key_id, project, push_id, branch, title, site_id, token_source, ends_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9)) returning id
"""
PATHS = """
    insert into push_path (push, path, sha1)
    select $1, x.path, x.sha1 from unnest($2::text[], $3::text[]) as x (path, sha1)
"""
FILES = "insert into push_file (push, sha1) select distinct $1::bigint, x from unnest($2::text[]) as x"


class NewPush(msgspec.Struct):
    project_id: Annotated[Any, Body("projectId", "project_id")] = None
    branch: Annotated[Any, Body("branch")] = None
    title: Annotated[Any, Body("title", "message")] = None
    files: Annotated[Any, Body("files")] = None


class Begun(msgspec.Struct):
    pushId: str
    deployId: str
    state: str
    required: list[str]
    url: str | None


async def begin(call: Call[NewPush]) -> Begun:
    """Begin a push. Raises `Failure`; what Netlify refuses costs nothing."""
    options: PushOptions = call.options
    project_id = text_of(call.body.project_id, 200)
    if not project_id:
        raise bad("Missing projectId")
    branch = text_of(call.body.branch, 80, "main")
    title = text_of(call.body.title, 160, "KaixuPush deploy")
    manifest = manifest_of(call.body.files, options.most_files)
    async with call.db() as db:
        project = await db.fetchrow(
            "select id, netlify_site_id, most_files from project where customer_id = $1 and project_id = $2",
            call.customer_id, project_id,
        )  # fmt: skip
    if project is None:
        raise Failure(404, "PROJECT_NOT_FOUND", "Project not found for this customer")
    if project["most_files"] is not None:
        manifest_of(manifest, project["most_files"])
    site = project["netlify_site_id"]
    token, source = await token_for(call, site)
    push_id = f"push_{secrets.token_hex(16)}"
    await reserve(call, push_id, project["id"], branch, title, site, source, manifest)
    netlify = Netlify(call, token)
    try:
        deploy = await netlify.create(site, f"{title} ({push_id})", branch, manifest)
    except Failure as error:
        if error.code == "NETLIFY_API":  # else it may have arrived: the job `watch` finds out
            await give_up(call, push_id, error.message)
        raise
    if not deploy.id:
        await give_up(call, push_id, "Netlify deploy creation failed")
        raise Failure(502, "NETLIFY_API", "Netlify deploy creation failed")
    async with call.db() as db:
        await db.execute(
            "update push set deploy_id = $3, state = $4, url = $5, updated_at = now() "
            "where customer_id = $1 and push_id = $2 and ended_at is null",
            call.customer_id, push_id, deploy.id, deploy.state[:40] or "new", deploy.address,
        )  # fmt: skip
    return await prepared(call, netlify, site, push_id, deploy)


async def reserve(
    call: Call[NewPush],
    push_id: str,
    project: int,
    branch: str,
    title: str,
    site: str,
    source: Source,
    manifest: dict[str, str],
) -> None:
    """Write the push with its files, hold its price, count it, and let it be watched: all of it or nothing."""
    options: PushOptions = call.options
    async with call.db() as db:
        full = await db.fetchrow(
            "select scope, most, count from take_deploy($1, $2, $3)",
            call.customer_id, options.deploys_per_minute, options.deploys_per_day,
        )  # fmt: skip
        if full is not None:
            raise Failure(
                429,
                "PUSH_NETLIFY_RATE_LIMIT",
                f"At most {full['most']} deploys in a {full['scope']}",
                retry_after_s=60 if full["scope"] == "minute" else 3600,
                fields={"scope": full["scope"], "limit": full["most"], "count": full["count"]},
            )
        number = await db.fetchval(
            INSERT, call.customer_id, call.key_id, project, push_id, branch, title, site, source,
            options.push_hours * 3600,
        )  # fmt: skip
        await db.execute(PATHS, number, [*manifest], [*manifest.values()])
        await db.execute(FILES, number, [*manifest.values()])
        await db.hold("deploy", key=push_id, for_s=HELD_S)
        await db.audit("PUSH_INIT", push_id, after={"site": site, "branch": branch, "files": len(manifest)})
        await db.enqueue("push.watch", Push(push_id), key=push_id, delay_s=options.first_look_s)


async def give_up(call: Call[Any], push_id: str, reason: str) -> None:
    """Netlify has refused a push: it has ended, and what was held for it is released."""
    async with call.db() as db:
        await db.execute(
            "update push set state = 'error', error = $3, ended_at = now(), updated_at = now() "
            "where customer_id = $1 and push_id = $2 and ended_at is null",
            call.customer_id, push_id, reason,
        )  # fmt: skip
        await db.release("deploy", key=push_id)


async def prepared(call: Call[Any], netlify: Netlify, site: str, push_id: str, deploy: Deploy) -> Begun:
    """What the deploy requires, once Netlify knows it. Raises `Failure` 504 where that takes too long."""
    options: PushOptions = call.options
    deploy_id, pause_s = deploy.id, FIRST_LOOK_S
    ends_at = asyncio.get_running_loop().time() + options.prepare_s
    while not deploy.is_prepared:
        if asyncio.get_running_loop().time() + pause_s > ends_at:
            raise Failure(
                504,
                "NETLIFY_PREPARING",
                "Netlify has not said in time which files it requires",
                hint="The push goes on: ask push-status, which tells it as soon as it is known.",
                fields={"pushId": push_id, "deployId": deploy_id, "state": deploy.state},
            )
        await asyncio.sleep(pause_s)
        pause_s = min(LOOK_EVERY_S, 2 * pause_s)
        deploy, _ = await netlify.deploy(site, deploy_id)
    async with call.db() as db:
        push = await find_push(db, call.customer_id, push_id)
    if push is not None:
        await note(call, push, deploy)
    return Begun(push_id, deploy_id, deploy.state, deploy.required or [], deploy.address)


PART = Part(
    operations=[
        Operation(
            "push.init", begin, NewPush, FREE, path="/pushes", aliases=["push-init"], auth=Key("deployer"),
            holds=["deploy"], timeout_s=75,
        )
    ]
)  # fmt: skip

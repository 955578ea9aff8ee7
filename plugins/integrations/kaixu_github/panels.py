"""Panels: the account, the repositories and the pushes of a customer, in the dashboard and for operators."""

from __future__ import annotations

import httpx

from kaixu.plugin import Panel, PanelView, SecretInfo, Tries, panels

from .account import TOKEN, json_of
from .identity import missing
from .push_rows import PushRow, PushState, pushes_of, state_of
from .repositories import Repository, repository_of
from .tokens import scopes_in, shown_scopes, text_in

TAB = "GitHub Push"
ADMIN_TAB = "GitHub Push Gateway"

#: Rows that are shown.
MOST_PUSHES = 50

STATES: dict[str, panels.State] = {
    "uploading": "info", "queued": "info", "running": "info", "retry_wait": "warn", "done": "good", "error": "bad",
}  # fmt: skip


async def account(view: PanelView) -> list[panels.Part]:
    """Whose account it is, what the token lacks, and how to connect another one."""
    info = await view.secrets.info(TOKEN)
    is_admin = view.caller.kind == "operator"
    parts = account_parts(info)
    if not is_admin and view.options.client_id:
        parts.append(panels.Action("Connect with GitHub", "github.connect"))
    parts.append(
        panels.Form(
            "github.admin-token-set" if is_admin else "github.token-set",
            [panels.Field("token", "GitHub token", "password", required=True)],
            "Store the token",
            hint="Classic: the scopes repo and workflow. Fine-grained: Contents and Workflows with write access.",
        )
    )
    if info is not None:
        clear = "github.admin-token-clear" if is_admin else "github.token-clear"
        confirm = "The token is removed. Pushes fail until another one is stored."
        parts.append(panels.Action("Disconnect", clear, confirm=confirm, is_danger=True))
    return parts


def account_parts(info: SecretInfo | None) -> list[panels.Part]:
    """The state of the token."""
    if info is None:
        return [panels.Notice("off", "GitHub is not connected.", "Connect it, or store a token.")]
    return [
        panels.Stat("Account", text_in(info, "login") or "not asked yet", state="good"),
        panels.Stat("Token", text_in(info, "token_type") or "pat"),
        panels.Stat("Scopes", ", ".join(scopes_in(info)) or "not shown"),
        panels.Stat("Since", panels.Time(info.set_at)),
        *(panels.Notice("warn", plain(words)) for words in missing(shown_scopes(info))),
    ]


async def repositories(view: PanelView) -> list[panels.Part]:
    """The repositories that were changed last."""
    if await view.secrets.info(TOKEN) is None:
        return [panels.Notice("off", "GitHub is not connected.")]
    found = await newest_repositories(view)
    rows = [
        [
            one.full_name,
            panels.Badge("info", "private") if one.private else panels.Badge("off", "public"),
            one.default_branch,
            one.updated_at,
            panels.Link("Open", one.html_url),
        ]
        for one in found
    ]
    return [panels.Table(["Repo", "Private", "Default", "Updated", "Link"], rows, empty="No repositories.")]


async def newest_repositories(view: PanelView) -> list[Repository]:
    """The first hundred. Raises `UpstreamError`, which leaves the panel with a sentence."""
    headers = {
        "accept": "application/vnd.github+json",
        "user-agent": "kaixu",
        "x-github-api-version": view.options.api_version,
    }
    url = f"{view.options.api_base.rstrip('/')}/user/repos?sort=updated&per_page=100"
    request = httpx.Request("GET", url, headers=headers)
    async with view.wire.send(request, secret=TOKEN, tries=Tries(2, on={502, 503})) as answer:
        data = json_of(await answer.aread())
    return [repository_of(item) for item in data] if isinstance(data, list) else []


async def pushes(view: PanelView) -> list[panels.Part]:
    """The newest pushes; those that go on with a bar."""
    is_admin = view.caller.kind == "operator"
    async with view.db() as db:
        rows = await pushes_of(db, view.customer_id, MOST_PUSHES, latest_change=is_admin)
    found = [(row, await state_of(view, row)) for row in rows]
    bars = [bar(row, state) for row, state in found if state.status in ("queued", "running", "retry_wait")]
    columns: list[str | panels.Column] = ["Job", "Repo", "Branch", "Status", panels.Column("Bytes", "right")]
    columns += ["Attempts", "Updated", "Result"]
    table = panels.Table(
        columns, [panels.Row(cells(row, state), actions(row, state, is_admin=is_admin)) for row, state in found],
        empty="Nothing was pushed yet. Send a ZIP, or push a folder with: kaixu git-push DIR --repo OWNER/NAME",
    )  # fmt: skip
    return [*bars[:10], table]


def bar(row: PushRow, state: PushState) -> panels.Progress:
    """How far a push is."""
    done = {"queued": 1, "retry_wait": 1, "running": 2}[state.status]
    return panels.Progress(f"{row.owner}/{row.repo}", done, 3, state.status, STATES[state.status])


def cells(row: PushRow, state: PushState) -> list[panels.Cell]:
    """A push."""
    return [
        panels.Code(row.job_id), f"{row.owner}/{row.repo}", row.branch,
        panels.Badge(STATES.get(state.status, "info"), state.status), panels.Bytes(row.bytes_staged), state.attempts,
        panels.Time(row.updated_at), result(row),
    ]  # fmt: skip


def result(row: PushRow) -> panels.Cell:
    """The commit, or why there is none."""
    if row.status != "done" or row.commit is None or row.url is None:
        return None if row.error is None else plain(row.error)
    if row.is_unchanged:
        return "nothing had changed"
    return panels.Link(row.commit[:7], row.pull_request_url or row.url)


def plain(words: str) -> str:
    """Words of a reply as a panel shows them: without the back-quotes around names."""
    return words.replace("`", "")


def actions(row: PushRow, state: PushState, *, is_admin: bool) -> list[panels.Action]:
    """What can be done to a push."""
    if state.status != "retry_wait":
        return []
    return [
        panels.Action("Retry", "github.admin-push-retry" if is_admin else "github.complete", {"job_id": row.job_id})
    ]


async def send_zip(view: PanelView) -> list[panels.Part]:
    """A form for a ZIP."""
    if await view.secrets.info(TOKEN) is None:
        return [panels.Notice("off", "GitHub is not connected.", "Connect it first.")]
    modes = [
        panels.Choice("merge", "keep files that the ZIP does not have"),
        panels.Choice("replace", "remove files that the ZIP does not have"),
    ]
    fields = [
        panels.Field("owner", "Owner", value=text_in(await view.secrets.info(TOKEN), "login"), required=True),
        panels.Field("repo", "Repository", required=True),
        panels.Field("branch", "Branch", value="main"),
        panels.Field("message", "Message", placeholder="Kaixu GitHub Push"),
        panels.Field("mode", "Other files", "select", "merge", modes),
        panels.Field("pull_request", "Open a pull request instead", "checkbox"),
        panels.Field("allow_secrets", "Push files that look as if they had secrets", "checkbox"),
    ]
    most_bytes = view.options.most_zip_bytes
    return [panels.File("github.zip", fields, "ZIP", "Push", accept=".zip", most_bytes=most_bytes)]


PANELS = [
    Panel(TAB, "Account", account, place="dashboard"),
    Panel(TAB, "Push a ZIP", send_zip, place="dashboard"),
    Panel(TAB, "Pushes", pushes, place="dashboard", refresh_s=5),
    Panel(TAB, "Repositories", repositories, place="dashboard", timeout_s=10),
    Panel(ADMIN_TAB, "Token", account, needs_customer=True),
    Panel(ADMIN_TAB, "Recent ZIP push jobs", pushes, needs_customer=True, refresh_s=10),
    Panel(ADMIN_TAB, "Repositories", repositories, needs_customer=True, timeout_s=10),
]

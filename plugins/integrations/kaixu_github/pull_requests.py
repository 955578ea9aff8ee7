"""A pull request instead of a push to the branch."""

from __future__ import annotations

from kaixu.plugin import Failure

from .account import ONCE, Account
from .push_rows import PushRow
from .refusals import unreadable
from .repositories import field


async def open_pull_request(account: Account, row: PushRow, branch: str) -> str:
    """Open it, or find the one that an earlier attempt has opened; its page.

    If GitHub refuses it for good, the branch that was made for it is removed again. Raises `Failure`.
    """
    path = f"/repos/{row.owner}/{row.repo}/pulls"
    wish = {"title": row.pull_title or row.message, "head": branch, "base": row.branch, "body": row.pull_body or ""}
    answer = await account.send("POST", path, wish, tries=ONCE)
    if answer.status == 422 and (found := await opened(account, row, path, branch)) is not None:
        return found
    try:
        made = await account.require(answer, "this pull request")
    except Failure as failure:
        if failure.status < 500 and failure.status != 429:
            await account.send("DELETE", f"/repos/{row.owner}/{row.repo}/git/refs/heads/{branch}")
        raise
    return made.text("html_url")


async def opened(account: Account, row: PushRow, path: str, branch: str) -> str | None:
    """The pull request of a branch, if there is one."""
    answer = await account.get(
        path, {"head": f"{row.owner}:{branch}", "base": row.branch, "state": "all"}, what="this repository"
    )
    if not isinstance(answer.data, list):
        raise unreadable()
    for item in answer.data:
        url = field(item, "html_url")
        if isinstance(url, str):
            return url
    return None

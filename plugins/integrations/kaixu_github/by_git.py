"""The way of git's own protocol: one pack whatever the number of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kaixu.plugin import Call

from .account import Account
from .archive import Archive
from .commits import CommitFacts, Plan
from .git_push import GitPush, Head
from .push_rows import PushRow


class ByGit:
    """See `landing.Transport`. What blocks runs in threads of the call."""

    def __init__(self, call: Call[Any], row: PushRow, account: Account, folder: Path) -> None:
        self.call = call
        self.row = row
        self.archive: Archive | None = None
        self.git = GitPush(call.options.web_base, row.owner, row.repo, call.wire.blocking(), account.token, folder)

    async def head(self, branch: str, base_branch: str | None = None) -> Head:
        """Where a branch is."""
        return await self.call.in_thread(self.git.head, branch, base_branch)

    async def plan(self, head: Head, archive: Archive, facts: CommitFacts) -> Plan:
        """The commit."""
        self.archive = archive
        return await self.call.in_thread(self.git.plan, head.base, archive, self.row.mode, facts)

    async def push(self, branch: str, head: Head, plan: Plan, *, force: bool) -> str:
        """Send it."""
        assert self.archive is not None
        return await self.call.in_thread(self.git.push, branch, head.at, plan, self.archive, force=force)

    async def contains(self, head: str, commit_id: str) -> bool:
        """Whether it is there."""
        return await self.call.in_thread(self.git.contains, head, commit_id)

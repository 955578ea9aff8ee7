"""A lease is renewed while its work runs."""

from __future__ import annotations

import asyncio

import pytest

from kaixu.ops.leases import renewing
from kaixu.plugin.errors import DatabaseAway


async def test_a_lease_is_renewed_while_the_block_runs_and_not_after_it() -> None:
    renewals = 0
    enough = asyncio.Event()

    async def renew() -> None:
        nonlocal renewals
        renewals += 1
        if renewals == 3:
            enough.set()

    async with renewing(renew, lease_s=lambda: 0.004, what="a lease"):
        await enough.wait()
    count = renewals
    await asyncio.sleep(0.02)
    assert renewals == count


@pytest.mark.parametrize("error", [DatabaseAway("away"), ValueError("a bug")], ids=["database away", "bug"])
async def test_a_renewal_that_fails_is_logged_and_the_next_one_is_tried(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    outcomes: list[Exception | None] = [error, None]
    enough = asyncio.Event()

    async def renew() -> None:
        if not outcomes:
            enough.set()
        elif (outcome := outcomes.pop(0)) is not None:
            raise outcome

    async with renewing(renew, lease_s=lambda: 0.004, what="the lease of job 7"):
        await enough.wait()
    [record] = caplog.records
    assert record.getMessage().startswith("the lease of job 7 not renewed")


async def test_work_that_fails_ends_the_renewal_too() -> None:
    async def renew() -> None:
        """Nothing."""

    with pytest.raises(ValueError, match="the work"):
        async with renewing(renew, lease_s=lambda: 1, what="a lease"):
            raise ValueError("the work")
    assert [task for task in asyncio.all_tasks() if task.get_name() == "renew a lease"] == []

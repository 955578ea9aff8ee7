"""The memory for request bodies, and its limit for each owner."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.edge.request_body import SMALL_BODY_BYTES, BodyBudget, BodyOwner, BodyShare, body_address
from kaixu.plugin.errors import Overloaded


def held(budget: BodyBudget, owner: BodyOwner, count: int) -> BodyShare:
    """A share that holds so many bytes."""
    share = BodyShare(budget)
    share.assign(owner)
    share.take(count)
    return share


def is_full(budget: BodyBudget, owner: BodyOwner, count: int = 1) -> bool:
    """Whether there is no room for more."""
    share = BodyShare(budget)
    share.assign(owner)
    try:
        share.require_room(count)
    except Overloaded:
        return True
    return False


def test_an_address_has_an_eighth_and_strangers_together_a_half() -> None:
    budget = BodyBudget(lambda: 800_000)
    for at in range(4):
        held(budget, body_address(f"192.0.2.{at}"), 100_000)
        assert is_full(budget, body_address(f"192.0.2.{at}"))
    assert is_full(budget, body_address("192.0.2.9"))
    assert not is_full(budget, 7, 400_000)


def test_a_customer_has_a_half_and_always_room_for_one_body() -> None:
    budget = BodyBudget(lambda: 800_000, lambda: 500_000)
    share = held(budget, 7, 500_000)
    assert is_full(budget, 7)
    assert not is_full(budget, 8, 300_000)
    share.release_all()
    assert not is_full(budget, 7, 500_000)
    assert (budget.held, dict(budget.by_owner)) == (0, {})


def test_what_a_stranger_holds_moves_with_it_when_it_is_known() -> None:
    budget = BodyBudget(lambda: 800_000)
    share = held(budget, body_address("192.0.2.1"), 100_000)
    share.assign(7)
    assert (budget.held, budget.by_unknown, budget.by_owner[7]) == (100_000, 0, 100_000)
    share.release_all()
    assert (budget.held, budget.by_unknown, dict(budget.by_owner)) == (0, 0, {})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("unknown", "unknown", True),
    ],
)
def test_an_ipv6_network_is_one_address(one: str, other: str, same: bool) -> None:
    assert (body_address(one) == body_address(other)) == same


SIZES = st.sampled_from([0, 1, SMALL_BODY_BYTES // 2, SMALL_BODY_BYTES - 1, SMALL_BODY_BYTES, 3 * SMALL_BODY_BYTES])
OWNERS = st.sampled_from([1, 2, body_address("192.0.2.1"), body_address("198.51.100.1")])


@given(SIZES, SIZES, st.lists(st.tuples(OWNERS, SIZES), max_size=4), OWNERS, SIZES)
def test_a_body_fits_if_the_budget_and_its_owner_have_room(
    most: int, one: int, others: list[tuple[BodyOwner, int]], owner: BodyOwner, count: int
) -> None:
    budget = BodyBudget(lambda: most, lambda: one)
    for other, size in others:
        share = BodyShare(budget)
        share.assign(other)
        if share.fits(size):
            share.add(size)
    share = BodyShare(budget)
    share.assign(owner)
    assert share.fits(count) is (not count or (budget.held + count <= most and share.has_room(count)))

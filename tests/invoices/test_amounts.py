"""The arithmetic of invoices, as properties."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kaixu.config.price import NUSD_PER_CENT, cents_of_nusd, in_cents
from kaixu.invoices.amounts import Credit, credit_of, credit_of_cents, totals_of

AMOUNTS = st.lists(st.integers(-(10**15), 10**15), max_size=30)


@given(AMOUNTS)
def test_cents_add_up_and_none_is_off_by_a_cent(amounts: list[int]) -> None:
    cents = in_cents(amounts)
    assert sum(cents) == cents_of_nusd(sum(amounts))
    assert all(abs(one * NUSD_PER_CENT - amount) < NUSD_PER_CENT for one, amount in zip(cents, amounts, strict=True))


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=8),
    st.sampled_from([0, 700, 1900, 2550]),
    st.lists(st.integers(1, 10**6), max_size=6),
)
def test_credits_in_any_parts_add_up_to_the_invoice(amounts: list[int], rate: int, parts: list[int]) -> None:
    invoice = totals_of(amounts, rate)
    if invoice.total_cents <= 0:
        return
    notes: list[Credit] = []
    for part in parts:
        left = invoice.total_cents - sum(one.total_cents for one in notes)
        if left <= 0:
            break
        if part % 2:
            notes.append(credit_of_cents(invoice, notes, total_cents=1 + part % left))
        else:
            rest = invoice.net_nusd - sum(one.net_nusd for one in notes)
            notes.append(credit_of(invoice, notes, net_nusd=part * 1000 % (rest + 1)))
    left = invoice.total_cents - sum(one.total_cents for one in notes)
    if left > 0:
        notes.append(credit_of_cents(invoice, notes, total_cents=left))
    assert sum(one.total_cents for one in notes) == invoice.total_cents
    assert sum(one.tax_cents for one in notes) == invoice.tax_cents
    assert sum(one.net_cents for one in notes) == invoice.net_cents
    if notes and left > 0:
        assert sum(one.net_nusd for one in notes) == invoice.net_nusd
    assert all(one.net_nusd >= 0 and one.total_cents >= 0 for one in notes)

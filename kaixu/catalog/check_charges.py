"""Checks the charges of an integration: what operations and jobs cost, its books, and its charges by key."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from kaixu.plugin.book import Book, Monthly
from kaixu.plugin.customer_settings import setting_names
from kaixu.plugin.errors import PluginError
from kaixu.plugin.operation import Free, Integration, Job, OnFailure, Operation, PerCall, PerUnit
from kaixu.plugin.options import Options
from kaixu.plugin.wire_use import has_wire

#: Books of the core. "import": what keys have spent at another gateway.
OWN_BOOKS = ("ai", "import")

BOOK = re.compile(r"[a-z0-9_]+(-[a-z0-9_]+)*")
MOST_NAME = 40
MOST_TITLE = 80
MOST_BOOKS = 20
MOST_CHARGES = 100


def check_charge(charge: Any, books: Sequence[str]) -> None:
    """Check the charge of an operation or job. Raises `PluginError`."""
    match charge:
        case Free(why):
            if not isinstance(why, str) or not why.strip():
                raise PluginError("`Free` must say why it is free")
        case PerCall() | PerUnit():
            check_price(charge, books)
            if isinstance(charge, PerUnit) and charge.most is None:
                raise PluginError("`most` of its charge must be a number of units, or a function of the input")
        case _:
            raise PluginError(f"its charge must be Free, PerCall or PerUnit, not {charge!r:.80}")


def check_price(charge: PerCall | PerUnit | Monthly, books: Sequence[str]) -> None:
    """Check what all charges with a price have. Raises `PluginError`."""
    if not isinstance(charge.price, str) or not charge.price:
        raise PluginError("its charge must name a price")
    if charge.book not in books:
        raise PluginError(f"there is no book {charge.book!r:.40}; there are {', '.join(books)}")
    if not isinstance(charge, PerUnit):
        return
    if not isinstance(charge.unit, str) or not charge.unit.isidentifier():
        raise PluginError(f"{charge.unit!r:.40} cannot be a unit: use a name")
    for number in (charge.per, *(() if charge.most is None or callable(charge.most) else (charge.most,))):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise PluginError("`per` and `most` of its charge must be at least 1")
    if callable(charge.most):
        if inspect.iscoroutinefunction(charge.most):
            raise PluginError("`most` of its charge must be a `def` function, not an `async def`")
        require_one_argument("`most` of its charge", charge.most, "the input")


def check_on_failure(integration: Integration, one: Operation | Job) -> None:
    """Check that a metered call with a wire says what its failure costs. Raises `PluginError`."""
    if one.on_failure is not None and one.on_failure not in get_args(OnFailure):
        raise PluginError(
            f"its `on_failure` must be one of {', '.join(get_args(OnFailure))}, not {one.on_failure!r:.40}"
        )
    if isinstance(one.charge, Free):
        if one.on_failure is not None:
            raise PluginError("it is free: `on_failure` says what a failure costs")
    elif one.on_failure is None and has_wire(integration):
        raise PluginError(
            'it has a price and a wire: say `on_failure="release"` (a failed call costs nothing) or '
            '`"charge_counted"` (what was counted is billed if a vendor may have worked)'
        )


def check_books(integration: Integration) -> None:
    """Check the books and the charges by key. Raises `PluginError`."""
    books = book_names(integration)
    prices: set[str] = set()
    if len(integration.charges) > MOST_CHARGES:
        raise PluginError(f"it has more than {MOST_CHARGES} charges")
    for charge in integration.charges:
        if not isinstance(charge, PerCall | PerUnit | Monthly):
            raise PluginError(f"`charges` must consist of PerCall, PerUnit and Monthly, not {charge!r:.80}")
        try:
            check_price(charge, books)
        except PluginError as error:
            raise PluginError(f"charge `{charge.price!s:.80}`: {error}") from None
        if isinstance(charge, PerUnit) and callable(charge.most):
            raise PluginError(f"charge `{charge.price}`: a charge by key has no input: `most` must be a number")
        if charge.price in prices:
            raise PluginError(f"charge `{charge.price}` is declared twice")
        prices.add(charge.price)
    offered: list[Operation | Job] = [*integration.operations, *integration.jobs]
    monthly = {charge.book for charge in integration.charges if isinstance(charge, Monthly)}
    held = {charge.price for charge in integration.charges if not isinstance(charge, Monthly)}
    for one in offered:
        if isinstance(one.holds, str) or not isinstance(one.holds, Sequence):
            raise PluginError(f"`{one.name}`: `holds` must be a list of charges, not {one.holds!r:.80}")
        for name in one.holds:
            if name not in held:
                raise PluginError(f"`{one.name}` holds `{name!s:.80}`, which is not among the charges by key")
        if isinstance(one.charge, Free):
            continue
        if one.charge.price in prices:
            raise PluginError(f"the price `{one.charge.price}` is one of a charge by key and of `{one.name}`")
        if one.charge.book in monthly:
            raise PluginError(
                f"`{one.name}` is billed in the book `{one.charge.book}`, which has a monthly charge: bill it by key"
            )


def book_names(integration: Integration) -> list[str]:
    """The names of the books that charges may have. Raises `PluginError`."""
    if len(integration.books) > MOST_BOOKS:
        raise PluginError(f"it has more than {MOST_BOOKS} books")
    names = ["ai"]
    for book in integration.books:
        if not isinstance(book, Book):
            raise PluginError(f"`books` must consist of Book, not {book!r:.80}")
        if not isinstance(book.name, str) or len(book.name) > MOST_NAME or not BOOK.fullmatch(book.name):
            raise PluginError(f"{book.name!r:.60} cannot be the name of a book: use small letters, digits, - and _")
        if book.name in OWN_BOOKS:
            raise PluginError(f"the book `{book.name}` is the gateway's own")
        if book.name in names:
            raise PluginError(f"book `{book.name}` is declared twice")
        names.append(book.name)
        if not isinstance(book.title, str) or len(book.title) > MOST_TITLE:
            raise PluginError(f"the title of book `{book.name}` must be a text of at most {MOST_TITLE} characters")
        check_book_fields(integration, book)
        if book.refused is not None:
            if not callable(book.refused) or inspect.iscoroutinefunction(book.refused):
                raise PluginError(f"`refused` of book `{book.name}` must be a `def` function")
            require_one_argument(f"`refused` of book `{book.name}`", book.refused, "the facts")
        if book.statement is not None:
            if not callable(book.statement) or inspect.iscoroutinefunction(book.statement):
                raise PluginError(f"`statement` of book `{book.name}` must be a `def` function")
            require_one_argument(f"`statement` of book `{book.name}`", book.statement, "the month")
    return names


def check_book_fields(integration: Integration, book: Book) -> None:
    """Check the fields that a book names. Raises `PluginError`."""
    settings = () if integration.customer is None else setting_names(integration.customer)
    is_option = (
        isinstance(integration.options, type)
        and issubclass(integration.options, Options)
        and (book.cap in integration.options.model_fields)
    )
    if book.cap is not None and not (book.cap in settings or is_option):
        raise PluginError(f"`cap` of book `{book.name}` names `{book.cap!s:.80}`, which is no setting and no option")
    if book.cap in settings and integration.customer is not None:
        [field] = [one for one in msgspec.structs.fields(integration.customer) if one.encode_name == book.cap]
        default = None if field.default is msgspec.NODEFAULT else field.default
        if default is not None and (isinstance(default, bool) or not is_amount(default)):
            raise PluginError(f"`cap` of book `{book.name}` names `{book.cap}`, which is not an amount in USD")
    if book.version is not None and book.version not in settings:
        raise PluginError(f"`version` of book `{book.name}` names `{book.version!s:.80}`, which is no setting")


def is_amount(value: Any) -> bool:
    """Whether a value is a number of USD from 0 on, in whole nano-dollars or not."""
    try:
        return 0 <= float(value) < 10**9
    except (TypeError, ValueError):
        return False


def require_one_argument(what: str, function: Any, argument: str) -> None:
    """Raises `PluginError` for a function that does not take one argument."""
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise PluginError(f"{what} must take one argument, {argument}") from None
    except ValueError:  # a signature that Python cannot tell
        return

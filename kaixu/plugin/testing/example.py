"""One successful use of an operation, job, schedule or webhook, from which `IntegrationContract` makes all its runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from kaixu.plugin.access import Caller
from kaixu.plugin.book import BookMonth
from kaixu.plugin.customers import CustomerView
from kaixu.plugin.money import Balance

from .wire import Reply, Respond

#: Makes the headers of a webhook: its signature of a body, at a time.
Sign = Callable[[bytes, datetime], Mapping[str, str]]


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """How one of an integration's functions succeeds.

    `body`: its input, or a function that makes it of the results of `before`; the bytes of a webhook. `before`: what is
    run first, as `[("push.init", Example(…))]`: operations, jobs, webhooks. `sql`: statements that are run before
    that, such as rows that another part of the integration would write. `secrets` and `settings`: what the customer
    has; `unique_values`: see `FakeSettings`. `balance`: what `db.balance` returns; `customers`: all that there are, for
    `call.customers`; `books`: what `book` returns, by name. `filters`: of a panel. `wire`: what the vendor answers, in
    order. `upload`: the body of an upload; `kept`: blobs that are kept, by name. `may_fail`: the numbers, from 1, of
    requests whose failure the function overcomes. `sign`: for a webhook.
    """

    body: Any = None
    before: Sequence[tuple[str, Example]] = ()
    sql: Sequence[str] = ()
    secrets: Mapping[str, str] = {}
    settings: Mapping[str, Any] = {}
    unique_values: Mapping[tuple[str, str | int], int] = {}
    balance: Balance | None = None
    customers: Sequence[CustomerView] = ()
    wire: Sequence[Reply | Respond] = ()
    options: Any = None
    caller: Caller | None = None
    books: Mapping[str, BookMonth] = {}
    filters: Mapping[str, str] = {}
    upload: bytes | None = None
    kept: Mapping[str, bytes] = {}
    may_fail: Collection[int] = ()
    sign: Sign | None = None

"""Checks everything that an integration declares, when it is registered: a mistake is told as one sentence.

A mistake switches the integration off, and nothing else.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from kaixu.plugin.access import Auth, Key, Method, Operator, OperatorScope, Public, Rank, Rate
from kaixu.plugin.errors import PluginError
from kaixu.plugin.money import Grant
from kaixu.plugin.operation import Free, Integration, Job, JobAdmission, Operation, OperationAdmission, Retry, Schedule
from kaixu.plugin.options import Options
from kaixu.plugin.reaction import Reaction

from .callbacks import check_callbacks
from .check_charges import book_names, check_books, check_charge, check_on_failure
from .core_names import CORE_FUNCTIONS, CORE_PATHS
from .input_plan import input_plan, parameters_of
from .operation_paths import ALIAS, MOST_PATH, SEGMENT, segments_of, shape_of
from .panels import check_panels
from .reactions import check_reactions
from .webhooks import check_webhooks

NAME = re.compile(r"[a-z0-9_]+(-[a-z0-9_]+)*")
#: The part of an operation's name after the integration's name; dots become slashes in its path.
WHAT = re.compile(r"[a-z0-9_]+([.-][a-z0-9_]+)*")
MOST_NAME = 100
TABLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")
MOST_TIMEOUT_S = 24 * 3600
LEAST_PERIOD_S = 1
#: The longest time that a rate is counted over, and the most calls in it.
MOST_RATE_S = 31 * 24 * 3600
MOST_RATE = 1_000_000_000
MOST_RATES = 4
MOST_AT_ONCE = 100_000
MOST_PER_MINUTE = 100_000

Offer = Operation | Job | Schedule


def check_integration(integration: Integration) -> None:
    """Check an integration's declarations. Raises `PluginError` that says what is wrong, and where."""
    name = integration.name
    if not isinstance(name, str) or len(name) > MOST_NAME or not NAME.fullmatch(name):
        raise PluginError(f"{name!r:.80} is not a name of an integration: use small letters, digits, - and _")
    if name in CORE_PATHS:
        raise PluginError(f"an integration cannot be called `{name}`: the gateway uses that path itself")
    if not (isinstance(integration.options, type) and issubclass(integration.options, Options)):
        raise PluginError(f"`options` of integration `{name}` must be a subclass of kaixu.plugin.Options")
    if integration.schema is not None and (not isinstance(integration.schema, str) or not integration.schema):
        raise PluginError(f"`schema` of integration `{name}` must name a folder, not {integration.schema!r:.80}")
    kinds: tuple[tuple[str, Sequence[Any], type[Offer]], ...] = (
        ("operations", integration.operations, Operation),
        ("jobs", integration.jobs, Job),
        ("schedules", integration.schedules, Schedule),
    )
    offered: list[Offer] = []
    for field, given, kind in kinds:
        for at, one in enumerate(given):
            if not isinstance(one, kind):
                raise PluginError(
                    f"`{field}[{at}]` of integration `{name}` must be of the type {kind.__name__}, not {one!r:.80}"
                )
            offered.append(one)
    names: set[str] = set()
    for one in offered:
        check_offer(integration, one)
        if one.name in names:
            raise PluginError(f"{label(one)} is registered twice")
        names.add(one.name)
    check_addresses(integration.operations)
    check_webhooks(integration)
    check_panels(integration)
    try:
        check_books(integration)
    except PluginError as error:
        raise PluginError(f"integration `{name}`: {error}") from None
    check_callbacks(integration)
    check_life(integration)


def check_life(integration: Integration) -> None:
    """Check reactions, grants, and what happens when it is switched on and off. Raises `PluginError`."""
    for at, one in enumerate(require_list("reactions", integration.reactions)):
        if not isinstance(one, Reaction):
            raise PluginError(f"`reactions[{at}]` must be of the type Reaction, not {one!r:.80}")
        try:
            check_handler(one.handler)
        except PluginError as error:
            raise PluginError(f"reaction to `{one.on}`: {error}") from None
    check_reactions(integration)
    if not isinstance(integration.grants, list | tuple | set | frozenset):
        raise PluginError(f"`grants` must be a set, not {integration.grants!r:.80}")
    for grant in integration.grants:
        if grant not in get_args(Grant):
            raise PluginError(f"there is no grant {grant!r:.40}; there are {', '.join(get_args(Grant))}")
    for table in require_list("keeps", integration.keeps):
        if not isinstance(table, str) or not TABLE.fullmatch(table):
            raise PluginError(f"`keeps` names tables of the integration, not {table!r:.80}")
    if integration.keeps and integration.schema is None:
        raise PluginError("`keeps` names tables, and the integration has none")
    if integration.open is not None:
        check_handler(integration.open)
    if integration.close is not None and not inspect.iscoroutinefunction(integration.close):
        raise PluginError(f"`close` must be an `async def` function without arguments, not {integration.close!r:.80}")


def label(one: Offer) -> str:
    """An operation, job or schedule in a message."""
    return f"{type(one).__name__.lower()} `{one.name}`"


def check_offer(integration: Integration, one: Offer) -> None:
    """Check one operation, job or schedule. Raises `PluginError`."""
    kind, prefix = type(one).__name__.lower(), f"{integration.name}."
    name = one.name if isinstance(one.name, str) else repr(one.name)
    if len(name) > MOST_NAME or not name.startswith(prefix) or not WHAT.fullmatch(name.removeprefix(prefix)):
        raise PluginError(f"{kind} `{name[:MOST_NAME]}` must be called `{prefix}<what>`")
    try:
        check_handler(one.handler)
        check_number("timeout_s", one.timeout_s, MOST_TIMEOUT_S, unit=" s")
        if isinstance(one, Schedule):
            check_schedule(one)
        elif isinstance(one, Job):
            check_charge(one.charge, book_names(integration))
            check_on_failure(integration, one)
            check_struct("payload", one.payload)
            if not isinstance(one.retry, Retry) or not one.retry.attempts >= 1:
                raise PluginError(f"its `retry` must be a Retry with at least one attempt, not {one.retry!r:.80}")
            if one.at_once is not None:
                check_number("at_once", one.at_once, MOST_AT_ONCE)
            if one.on_failed is not None:
                check_handler(one.on_failed)
            if one.admission not in get_args(JobAdmission):
                raise PluginError(f'its `admission` is "call" or "none", not {one.admission!r:.40}')
            if one.admission == "none" and not isinstance(one.charge, Free):
                raise PluginError(
                    'with `admission="none"` a job must be Free: what it does is billed by `db.charge`, to the key of '
                    "the hold"
                )
        else:
            check_charge(one.charge, book_names(integration))
            check_on_failure(integration, one)
            check_operation(one)
            input_plan(one)
    except PluginError as error:
        raise PluginError(f"{kind} `{name}`: {error}") from None


def check_handler(handler: Any) -> None:
    """Check that a handler is an async function of one argument. Raises `PluginError`."""
    call = handler if inspect.isroutine(handler) else getattr(handler, "__call__", None)  # noqa: B004
    if not (inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)):
        raise PluginError("its handler must be an `async def` function" + hint_for(handler))
    try:
        inspect.signature(handler).bind(None)
    except TypeError:
        raise PluginError("its handler must take one argument, the call") from None
    except ValueError:  # a signature that Python cannot tell
        return


def hint_for(handler: Any) -> str:
    """What to do about an async generator."""
    if inspect.isasyncgenfunction(handler):
        return "; for a stream return `Events(generator)`"
    return f", not {handler!r:.80}"


def check_number(field: str, value: Any, most: float, *, least: float = 0, unit: str = "") -> None:
    """Check that a number lies above 0, or from `least` on, and up to `most`. Raises `PluginError`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not (value >= least if least else value > 0) or value > most:
        above = f"between {least} and {most}" if least else f"up to {most}"
        raise PluginError(f"its `{field}` may be {above}{unit}, not {value!r:.40}")


def check_schedule(schedule: Schedule) -> None:
    """Check what only a schedule has. Raises `PluginError`."""
    if not isinstance(schedule.every_s, int | float) or not schedule.every_s >= LEAST_PERIOD_S:
        raise PluginError(f"it cannot run more often than every {LEAST_PERIOD_S} s")
    if not isinstance(schedule.why_free, str) or not schedule.why_free.strip():
        raise PluginError("`why_free` must say why it is free")


def check_struct(field: str, kind: Any) -> None:
    """Check that a type can be read from JSON. Raises `PluginError`."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        raise PluginError(f"its `{field}` must be a subclass of msgspec.Struct, not {kind!r:.80}")
    try:
        msgspec.json.Decoder(kind)
    except Exception as error:  # noqa: BLE001 - a type that cannot be resolved raises whatever its expression raises
        raise PluginError(f"its `{field}` {kind.__name__} cannot be read: {type(error).__name__}: {error}") from None


def check_operation(one: Operation) -> None:
    """Check how an operation is reached, by whom and how often. Raises `PluginError`."""
    if one.method not in get_args(Method):
        raise PluginError(f"there is no method {one.method!r:.40}; there are {', '.join(get_args(Method))}")
    check_path(one.path_below)
    for alias in require_list("aliases", one.aliases):
        if not isinstance(alias, str) or len(alias) > MOST_NAME or not ALIAS.fullmatch(alias):
            raise PluginError(f"{alias!r:.80} cannot be an alias: use small letters, digits and -")
        if alias in CORE_FUNCTIONS:
            raise PluginError(f"the alias `{alias}` is an endpoint of the gateway itself")
    check_auth(one)
    check_upload(one)
    check_admission(one)
    check_rates(one)
    if one.at_once is not None:
        if not isinstance(one.auth, Key):
            raise PluginError("`at_once` counts the calls of customers; this operation takes no key")
        check_number("at_once", one.at_once, MOST_AT_ONCE, least=1)


def require_list(field: str, value: Any) -> Sequence[Any]:
    """A list or tuple. Raises `PluginError`."""
    if not isinstance(value, list | tuple):
        raise PluginError(f"`{field}` must be a list, not {value!r:.80}")
    return value


def check_path(path: Any) -> None:
    """Check the form of a path. Raises `PluginError`."""
    if not isinstance(path, str) or not path.startswith("/") or len(path) > MOST_PATH:
        raise PluginError(f"its path must begin with a slash and have at most {MOST_PATH} characters, not {path!r:.80}")
    for segment in segments_of(path):
        if not SEGMENT.fullmatch(segment) or segment in (".", ".."):
            raise PluginError(f"`{segment[:80]}` cannot be a part of its path: use small letters, or {{a_parameter}}")
    parameters = parameters_of(path)
    if len({*parameters}) < len(parameters):
        raise PluginError(f"its path {path} has a parameter twice")


def check_auth(one: Operation) -> None:
    """Check who may call an operation. Raises `PluginError`."""
    auth: Any = one.auth
    if not isinstance(auth, Auth):
        raise PluginError(f"its `auth` must be Key, Operator or Public, not {auth!r:.80}")
    if one.role is not None and auth != Key():
        raise PluginError("`role` is short for `auth=Key(role)`: say only one of them")
    if isinstance(auth, Key):
        if one.rank not in get_args(Rank):
            raise PluginError(f"there is no role {one.rank!r:.40}; there are {', '.join(get_args(Rank))}")
        return
    if not isinstance(one.charge, Free):
        raise PluginError("only a call with a key can be billed: an operation for others must be Free")
    if isinstance(auth, Public):
        check_number("per_minute", auth.per_minute, MOST_PER_MINUTE, least=1)
    elif auth.customer is not None and (not isinstance(auth.customer, str) or not auth.customer):
        raise PluginError("`customer` must be the name of a field, or None")
    elif auth.scope not in get_args(OperatorScope):
        raise PluginError(f"there is no scope {auth.scope!r:.40}; there are {', '.join(get_args(OperatorScope))}")


def check_admission(one: Operation) -> None:
    """Check how much of an admission an operation has. Raises `PluginError`."""
    if one.admission not in get_args(OperationAdmission):
        raise PluginError(f'`admission` is "call" or "key", not {one.admission!r:.40}')
    if not isinstance(one.key_rates, bool):
        raise PluginError(f"`key_rates` must be true or false, not {one.key_rates!r:.40}")
    if not one.key_rates and not (isinstance(one.auth, Key) and isinstance(one.charge, Free)):
        raise PluginError("with `key_rates=False` an operation takes a key, and is Free")
    if one.admission == "call":
        return
    if not isinstance(one.auth, Key) or not isinstance(one.charge, Free) or one.holds:
        raise PluginError('with `admission="key"` an operation takes a key, is Free, and holds nothing')
    if one.upload or one.at_once is not None or any(rate.by == "key" for rate in one.rates):
        raise PluginError(
            'with `admission="key"` an operation has no uploads, no `at_once`, and rates by customer only'
        )


def check_upload(one: Operation) -> None:
    """Check an operation whose body is a file. Raises `PluginError`."""
    if not isinstance(one.upload, bool):
        raise PluginError(f"`upload` must be true or false, not {one.upload!r:.40}")
    if not one.upload:
        return
    if one.method not in ("POST", "PUT", "PATCH"):
        raise PluginError(f"an upload is a POST, PUT or PATCH, not a {one.method}")
    if isinstance(one.auth, Public) or (isinstance(one.auth, Operator) and one.auth.customer is None):
        raise PluginError("an upload needs a customer, whose quota its files count against")


def check_rates(one: Operation) -> None:
    """Check an operation's rates. Raises `PluginError`."""
    rates = one.rates if isinstance(one.rate, Rate) else require_list("rate", one.rate)
    if len(rates) > MOST_RATES:
        raise PluginError(f"an operation has at most {MOST_RATES} rates")
    for rate in rates:
        if not isinstance(rate, Rate):
            raise PluginError(f"`rate` must be a Rate, not {rate!r:.80}")
        check_number("rate", rate.most, MOST_RATE, least=1, unit=" calls")
        check_number("rate", rate.per_s, MOST_RATE_S, least=1, unit=" s")
        if rate.most != int(rate.most) or rate.per_s != int(rate.per_s):
            raise PluginError("a rate must be a whole number of calls and of seconds")
        if rate.by not in ("customer", "key"):
            raise PluginError(f"a rate is by customer or by key, not by {rate.by!r:.40}")
        if isinstance(one.auth, Public):
            raise PluginError(
                "an operation for everybody has no customer whose rate could be counted: use `per_minute`"
            )
        if isinstance(one.auth, Operator) and (rate.by == "key" or one.auth.customer is None):
            raise PluginError("an operation for operators has no key: only a customer that it names can have a rate")


def check_addresses(operations: Sequence[Operation]) -> None:
    """Check that no two operations have the same method and address. Raises `PluginError`."""
    taken: dict[object, Operation] = {}
    for one in operations:
        shape = shape_of(segments_of(one.path_below))
        addresses: list[tuple[object, str]] = [(shape, f"path {one.path_below}")]
        addresses += [(alias, f"alias `{alias}`") for alias in one.aliases]
        for address, words in addresses:
            other = taken.setdefault((one.method, address), one)
            if other is not one or len([seen for seen, _ in addresses if seen == address]) > 1:
                raise PluginError(f"operation `{one.name}`: {one.method} and the {words} belong to `{other.name}`")

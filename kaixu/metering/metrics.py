"""Prometheus metrics of one gateway: counters and histograms that calls write to. Gauges are read at a scrape.

Labels have few values: functions of the API, providers and models of the catalog, error codes. Whatever a client could
make up becomes "other". No label names a customer or a key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector

from kaixu.catalog.catalog import Catalog
from kaixu.ops.metric_families import CounterCell, CounterFamily, HistogramCell, HistogramFamily
from kaixu.ops.request_end import CLIENT_GONE, RequestEnd
from kaixu.store.admission import Settlement

from .chat_ticket import ChatTicket
from .model_ticket import ModelTicket
from .ticket import Ticket

OTHER = "other"

#: How many error codes are told apart. They come from the gateway and its plugins, not from clients.
MAX_CODES = 200

#: Seconds: a refusal takes milliseconds, a long answer minutes.
SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

TOKENS = ("input", "output", "cached_input", "cache_write", "reasoning")


class CallCounters(NamedTuple):
    """The counters of one kind of call; `tokens` in the order of `TOKENS`."""

    calls: CounterCell
    spend: CounterCell
    vendor_cost: CounterCell
    tokens: tuple[CounterCell, ...]


#: Of one provider and model: tries that were answered, that failed; first output; what the gateway added to it.
PlaceHistograms = tuple[HistogramCell, HistogramCell, HistogramCell, HistogramCell]


async def nothing_to_read() -> None:
    """The default of `Metrics.refresh`."""


async def only_these(registry: CollectorRegistry) -> CollectorRegistry:
    """The default of `Metrics.of_all`."""
    return registry


class Metrics:
    """The metrics of one gateway, in a registry of their own. `catalog`: the one in force.

    `refresh` is awaited before each scrape: it reads what needs the database. `of_all` adds the figures of the other
    processes of this gateway.
    """

    def __init__(self, catalog: Callable[[], Catalog]) -> None:
        self.registry = CollectorRegistry()
        self._catalog = catalog
        self.refresh: Callable[[], Awaitable[None]] = nothing_to_read
        self.of_all: Callable[[CollectorRegistry], Awaitable[CollectorRegistry]] = only_these
        self._functions: frozenset[str] = frozenset()
        self._codes: set[str] = set()
        self._known_of: Catalog | None = None
        self._known: frozenset[tuple[str, str]] = frozenset()
        # Looking a counter up by its labels costs more than counting.
        self._of_requests: dict[tuple[str, str, str, str], tuple[CounterCell, HistogramCell]] = {}
        self._of_calls: dict[tuple[str, str, str, str, str], CallCounters] = {}
        self._of_places: dict[tuple[str, str], PlaceHistograms] = {}
        self._of_groups: dict[str, tuple[HistogramCell, HistogramCell]] = {}
        place = ("provider", "model")
        self.requests = self._counter("kaixu_requests", "HTTP requests that have ended.", "function", *place, "status")
        self.errors = self._counter(
            "kaixu_errors", "Requests that were refused or have failed, by error code.", "function", "code"
        )
        self.calls = self._counter(
            "kaixu_calls", "Calls that were settled, with those of jobs and batches.", "operation", *place, "end"
        )
        self.tokens = self._counter("kaixu_tokens", "Tokens of settled calls.", *place, "kind")
        self.spend = self._counter(
            "kaixu_spend_nanodollars", "What customers were billed; 1e9 are one dollar.", "book", *place
        )
        self.vendor_cost = self._counter(
            "kaixu_vendor_cost_nanodollars",
            "What vendors charge, where it is known; 1e9 are one dollar.",
            "book",
            *place,
        )
        self.request_seconds = self._histogram(
            "kaixu_request_seconds", "From a request's head to the end of its reply.", SECONDS, "function", "status"
        )
        self.first_output_seconds = self._histogram(
            "kaixu_first_output_seconds", "From admission to the first output of a chat call.", SECONDS, *place
        )
        self.added_seconds = self._histogram(
            "kaixu_gateway_added_seconds",
            "The part of kaixu_first_output_seconds in which no vendor was called: the gateway's own.",
            SECONDS,
            *place,
        )
        self.try_seconds = self._histogram(
            "kaixu_vendor_try_seconds",
            "One call of a vendor, until its first output or its failure.",
            SECONDS,
            *place,
            "outcome",
        )
        self.group_size = self._histogram(
            "kaixu_ledger_group_size", "Calls that were admitted or settled in one statement.", SIZES, "operation"
        )
        self.group_seconds = self._histogram(
            "kaixu_ledger_group_seconds", "How long such a statement took.", SECONDS, "operation"
        )
        ProcessCollector(registry=self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> CounterFamily:
        return CounterFamily(name, help_text, labels, self.registry)

    def _histogram(self, name: str, help_text: str, bounds: Iterable[float], *labels: str) -> HistogramFamily:
        return HistogramFamily(name, help_text, labels, tuple(bounds), self.registry)

    def serves(self, paths: Iterable[str]) -> None:
        """Note the paths of all routes: their fixed parts are the values of the label `function`."""
        parts = {part for path in paths for part in path.split("/")[1:] if part and "<" not in part}
        self._functions = frozenset(parts - {"api", "v1", ".netlify", "functions"})

    def request_ended(self, end: RequestEnd) -> None:
        """Count a request. See `kaixu.ops.request_end.RequestListener`."""
        function = end.function if end.function in self._functions else self.function_of(end.path)
        status = "client_gone" if end.status == CLIENT_GONE else f"{end.status // 100}xx"
        key = function, *self.place(end.provider, end.model), status
        requests, seconds = self._of_requests.get(key) or self._for_request(key)
        requests.value += 1
        seconds.observe(end.duration_ms / 1000)
        if end.error_code is not None:
            self.errors.labels(function, self.code(end.error_code)).value += 1

    def _for_request(self, key: tuple[str, str, str, str]) -> tuple[CounterCell, HistogramCell]:
        made = self.requests.labels(*key), self.request_seconds.labels(key[0], key[3])
        self._of_requests[key] = made
        return made

    def settled(self, ticket: Ticket, settlement: Settlement) -> None:
        """Count a call. See `kaixu.metering.admission.SettlementObserver`."""
        place = self.place(settlement.provider, settlement.model)
        key = settlement.operation, *place, settlement.end_reason, settlement.book
        counters = self._of_calls.get(key) or self._for_call(key)
        counters.calls.value += 1
        if settlement.cost_nusd:
            counters.spend.value += settlement.cost_nusd
        if settlement.vendor_cost_nusd and settlement.vendor_cost_known:
            counters.vendor_cost.value += settlement.vendor_cost_nusd
        for counter, count in zip(counters.tokens, tokens_in(settlement), strict=True):
            if count:
                counter.value += count
        if isinstance(ticket, ModelTicket):
            self._tried(ticket, place)

    def _tried(self, ticket: ModelTicket, place: tuple[str, str]) -> None:
        """Count the tries of a call, and how soon a chat had its first output."""
        answered, failed, first_output, added = self._of_places.get(place) or self._for_place(place)
        at_vendors_ms = 0
        for one in ticket.tried:
            (failed if one.error else answered).observe(one.took_ms / 1000)
            at_vendors_ms += one.took_ms
        if isinstance(ticket, ChatTicket) and ticket.first_event_s is not None:
            first_output.observe(ticket.first_event_s)
            added.observe(max(0.0, ticket.first_event_s - at_vendors_ms / 1000))

    def _for_call(self, key: tuple[str, str, str, str, str]) -> CallCounters:
        operation, provider, model, end, book = key
        made = CallCounters(
            self.calls.labels(operation, provider, model, end),
            self.spend.labels(book, provider, model),
            self.vendor_cost.labels(book, provider, model),
            tuple(self.tokens.labels(provider, model, kind) for kind in TOKENS),
        )
        self._of_calls[key] = made
        return made

    def _for_place(self, place: tuple[str, str]) -> PlaceHistograms:
        made = (
            self.try_seconds.labels(*place, "answered"),
            self.try_seconds.labels(*place, "failed"),
            self.first_output_seconds.labels(*place),
            self.added_seconds.labels(*place),
        )
        self._of_places[place] = made
        return made

    def group_sent(self, operation: str, size: int, seconds: float) -> None:
        """A statement has admitted or settled `size` calls."""
        sizes, times = self._of_groups.get(operation) or self._for_group(operation)
        sizes.observe(size)
        times.observe(seconds)

    def _for_group(self, operation: str) -> tuple[HistogramCell, HistogramCell]:
        made = self.group_size.labels(operation), self.group_seconds.labels(operation)
        self._of_groups[operation] = made
        return made

    def code(self, code: str) -> str:
        """An error code, or "other" if there are too many."""
        if code not in self._codes and len(self._codes) >= MAX_CODES:
            return OTHER
        self._codes.add(code)
        return code

    def function_of(self, path: str) -> str:
        """The function that a path names; scanners ask for any path, so only those that are served."""
        for part in reversed(path.rsplit("/", 3)):
            if part in self._functions:
                return part
        return OTHER

    def place(self, provider: str | None, model: str | None) -> tuple[str, str]:
        """A provider and model of the catalog; ("", "") for requests that name none."""
        if not provider and not model:
            return "", ""
        catalog = self._catalog()
        if catalog is not self._known_of:
            self._known, self._known_of = known_places(catalog), catalog
        place = provider or "", model or ""
        return place if place in self._known else (OTHER, OTHER)


def tokens_in(settlement: Settlement) -> tuple[int, ...]:
    """The tokens of a call, in the order of `TOKENS`."""
    return (
        settlement.input_tokens,
        settlement.output_tokens,
        settlement.cached_input_tokens,
        settlement.cache_write_tokens,
        settlement.reasoning_tokens,
    )


def known_places(catalog: Catalog) -> frozenset[tuple[str, str]]:
    """All providers with their models, and integrations with what they sell."""
    models = {(one.provider, one.model) for one in catalog.deployments}
    sold = {(name, priced) for name, state in catalog.integrations.items() for priced in state.rates}
    return frozenset(models | sold)

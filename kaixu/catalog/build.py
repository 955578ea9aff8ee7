"""Builds the catalog from kaixu.yaml: loads plugins, runs their hooks once, checks options, opens lanes."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from kaixu.config.document import Document
from kaixu.config.mistakes import Mistake, did_you_mean
from kaixu.config.price import rate_nusd
from kaixu.config.read import Path_
from kaixu.config.sections import IntegrationSection, LaneSection, PluginSection
from kaixu.config.wording import mistakes_in
from kaixu.plugin.errors import PluginError
from kaixu.plugin.lane import Lane
from kaixu.plugin.operation import Free, Integration, Job, Operation
from kaixu.plugin.options import Options
from kaixu.plugin.origins import Hosts

from . import reactions
from .catalog import Catalog, IntegrationState, LaneState, PluginObserver, PluginState, State
from .find import NoSuchPlugin, NotInstalled, installed, plugins_in
from .load import LaneKind, Loader, Plugin, WrongIntegration
from .models import add_lane, add_models
from .redact import redacted, secret_texts, texts
from .shipped import missing_plugin
from .webhooks import job_of, kind_of

log = logging.getLogger(__name__)


def build(document: Document, folder: Path, *, strict: bool = False) -> Catalog:
    """Open everything that `document` switches on; `folder` is the folder of kaixu.yaml.

    With `strict`, a mistake that a plugin finds in its section refuses the whole file;
    used by `kaixu check` and by a reload, where the old configuration still serves.

    Raises `PluginError` if a section with `required: true` is not on, and, with `strict`,
    `ConfigError` with every mistake.
    """
    catalog = assemble(document, folder)
    catalog.require(strict=strict)
    return catalog


def assemble(document: Document, folder: Path) -> Catalog:
    """Like `build`, but never raises for mistakes: for callers that must close the lanes of a rejected catalog.

    A plugin that fails is listed with its reason; calls that need it get 503.
    """
    build = Build(document, folder)
    catalog = build.catalog
    catalog.notes += document.reading.notes
    for at, entry in enumerate(document.plugins):
        build.plugins(entry, ("plugins", at))
    for name, lane_section in document.lanes.items():
        add_lane(catalog, build.lane(name, lane_section), document.public_name)
    add_models(catalog, build.mistake)
    for name, integration_section in document.integrations.items():
        build.integration(name, integration_section)
    catalog.observers = [PluginObserver(where, observe) for where, observe in build.loader.observers()]
    catalog.plugins = build.plugin_states()
    return catalog


class BuildResult(NamedTuple):
    """The state of one section after the build."""

    state: State
    reason: str | None


class Build:
    """Builds one catalog."""

    def __init__(self, document: Document, folder: Path) -> None:
        self.document = document
        self.folder = folder
        self.loader = Loader(folder)
        self.catalog = Catalog()
        self.outcomes: dict[str, list[BuildResult]] = {}  # by the plugin's location
        self.not_installed: dict[str, BuildResult] = {}  # integrations that are off because of it, by name
        self.alias_owners: dict[str, tuple[str, str]] = {}  # the integration of each alias, and what has it
        self.book_owners: dict[str, str] = {}  # the integration of each book

    def mistake(self, path: Path_, message: str) -> BuildResult:
        """Add a mistake: kaixu.yaml does not fit a plugin that it names."""
        mistake = Mistake.at(self.document.reading.place(path), message)
        self.catalog.mistakes.append(mistake)
        return BuildResult("failed", str(mistake))

    def failed(self, path: Path_, error: PluginError) -> BuildResult:
        """The result for a plugin that did not load; a mistake only if no plugin has this name."""
        if isinstance(error, NoSuchPlugin):
            return self.mistake(path, str(error))
        return BuildResult("failed", str(error))

    def outcome(self, plugin: Plugin, outcome: BuildResult) -> BuildResult:
        """Record the result of a section of `plugin`."""
        self.outcomes.setdefault(plugin.found.where, []).append(outcome)
        return outcome

    def plugins(self, entry: str, path: Path_) -> None:
        """Load one entry of `plugins:`; sections can name what it registers, and it may observe events."""
        for name in plugins_in(entry, self.folder):
            try:
                self.loader.load(name, "observer")
            except PluginError as error:
                self.failed(path, error)

    def lane(self, name: str, section: LaneSection) -> LaneState:
        """Open one section of `lanes:`: load its plugin, check its options, create the lane."""
        path: Path_ = ("lanes", name)
        try:
            plugin, kind = self.loader.lane(section.plugin)
        except PluginError as error:
            return LaneState(name, section, *self.failed((*path, "plugin"), error), None)
        lane: Lane | None = None
        options, outcome = self.options(path, section, kind.options)
        if outcome.state != "failed":
            outcome = self.abilities(path, section, kind) or outcome
        if outcome.state == "on" and options is not None:
            try:
                lane = kind.lane(options)  # type: ignore[call-arg]
            except Exception as error:  # noqa: BLE001 - third-party code can raise anything
                outcome = BuildResult("failed", self.reason_of(error, section, options))
        return LaneState(name, section, *self.outcome(plugin, outcome), lane)

    def options(self, path: Path_, section: PluginSection, model: type[Options]) -> tuple[Options | None, BuildResult]:
        """A section's plugin fields, validated by the plugin's model, without those with an unset variable."""
        reading = self.document.reading
        off = BuildResult("on", None) if section.off is None else BuildResult("off", section.off)
        try:
            return model.model_validate(section.options), off
        except ValidationError as error:
            mistakes = mistakes_in(reading, error, model, path, also=type(section).model_fields)
            if not mistakes:
                return None, off  # only the unset variable is wrong
            hidden = reading.given | texts(section.options)
            for one in mistakes:
                self.catalog.mistakes.append(replace(one, message=redacted(one.message, hidden)))
            return None, BuildResult("failed", str(self.catalog.mistakes[-len(mistakes)]))
        except Exception as error:  # noqa: BLE001 - third-party code can raise anything
            return None, BuildResult("failed", self.reason_of(error, section, None))

    def abilities(self, path: Path_, section: LaneSection, kind: LaneKind) -> BuildResult | None:
        """A failure if the lane lacks a kind of its models; None if it has all."""
        wrong = None
        for name, model in section.models.items():
            if getattr(kind.lane, model.type) is getattr(Lane, model.type):
                message = f"plugin `{section.plugin}` has no {model.type} models"
                wrong = self.mistake((*path, "models", name, "type"), message)
        return wrong

    def reason_of(self, error: Exception, section: PluginSection, options: Options | None) -> str:
        """The message of a plugin's exception for the operator, without secrets.

        A `PluginError` is written for operators; any other exception may quote its input.
        """
        hidden = set(self.document.reading.given) | (secret_texts(options) if options else set())
        if isinstance(error, PluginError):
            return redacted(str(error), hidden)
        log.debug("a plugin's section failed", exc_info=error)
        return f"{type(error).__name__}: {redacted(str(error), hidden | texts(section.options))}"

    def integration(self, name: str, section: IntegrationSection) -> None:
        """Add one section of `integrations:`; its operations are served if it has no mistakes."""
        path: Path_ = ("integrations", name)
        integration: Integration | None = None
        options: Options | None = None
        try:
            plugin, integration = self.loader.integration(name, section.plugin)
        except PluginError as error:
            missing = missing_plugin(name, section) if isinstance(error, NotInstalled) else None
            if missing is not None:
                outcome = self.not_installed[name] = BuildResult("off", missing)
            else:
                outcome = self.failed((*path, "plugin") if section.plugin else path, error)
            if isinstance(error, WrongIntegration):
                self.outcome(error.plugin, outcome)
        else:
            options, outcome = self.options(path, section, integration.options)
            if outcome.state != "failed":
                outcome = self.prices(path, section, integration) or outcome
                outcome = self.hosts(path, integration, options) or outcome
            if outcome.state == "on":
                outcome = self.grants(section, integration) or outcome
            if outcome.state != "failed":
                outcome = self.aliases(integration) or self.books(integration) or outcome
            self.outcome(plugin, outcome)
        prices_nusd = {price: rate_nusd(dollars) for price, dollars in section.price.items()}
        schema = None
        if integration is not None and integration.schema is not None:
            schema = self.loader.folder_of(name) / integration.schema
        where = "" if integration is None else plugin.found.where
        state = IntegrationState(name, section, *outcome, integration, options, prices_nusd, schema, where)
        self.catalog.integrations[name] = state
        if outcome.state == "on" and integration is not None:
            self.catalog.operations |= {one.name: (state, one) for one in integration.operations}
            self.catalog.jobs |= {one.name: (state, one) for one in integration.jobs}
            self.catalog.schedules |= {one.name: (state, one) for one in integration.schedules}
            self.catalog.jobs |= {kind_of(name, one): (state, job_of(name, one)) for one in integration.webhooks}
            reacting = {reactions.kind_of(name, one): reactions.job_of(name, one) for one in integration.reactions}
            self.catalog.jobs |= {kind: (state, job) for kind, job in reacting.items()}

    def grants(self, section: IntegrationSection, integration: Integration) -> BuildResult | None:
        """Off, if it needs what the operator has not granted; None if it has all."""
        if missing := sorted({*integration.grants} - {*section.grants}):
            needs = f"it needs `grants: [{', '.join(missing)}]` in its section of kaixu.yaml"
            self.catalog.notes.append(f"integration {integration.name} is off: {needs}")
            return BuildResult("off", needs)
        if "mail" in integration.grants and self.document.mail is None:
            what = "writes to customers: without `mail:` they read it in the dashboard only"
            self.catalog.notes.append(f"integration {integration.name} {what}")
        if more := sorted({*section.grants} - {*integration.grants}):
            self.catalog.notes.append(f"integration {integration.name} does not use its grants {', '.join(more)}")
        return None

    def aliases(self, integration: Integration) -> BuildResult | None:
        """A failure if another integration has one of its aliases; None if it may have them all."""
        name = integration.name
        offered = [
            *((f"operation `{one.name}`", one.aliases) for one in integration.operations),
            *((f"callback `{one.name}` of `{name}`", one.aliases) for one in integration.callbacks),
            *((f"webhook `{one.name}` of `{name}`", one.aliases) for one in integration.webhooks),
        ]
        for what, aliases in offered:
            for alias in aliases:
                other = self.alias_owners.get(alias)
                if other is not None and other[0] != name:
                    return BuildResult("failed", f"{what}: the alias `{alias}` belongs to {other[1]}")
        for what, aliases in offered:
            self.alias_owners |= dict.fromkeys(aliases, (name, what))
        return None

    def books(self, integration: Integration) -> BuildResult | None:
        """A failure if another integration has one of its books; None if it may have them all."""
        for book in integration.books:
            owner = self.book_owners.get(book.name, integration.name)
            if owner != integration.name:
                return BuildResult("failed", f"the book `{book.name}` belongs to integration `{owner}`")
        self.book_owners |= dict.fromkeys((book.name for book in integration.books), integration.name)
        return None

    def hosts(self, path: Path_, integration: Integration, options: Options | None) -> BuildResult | None:
        """A failure if its hosts, or a default of its options, are none; None otherwise."""
        try:
            Hosts(integration.hosts, options, integration.name)
        except PluginError as error:
            return self.failed(path, error)
        except ValueError as error:
            wrong = PluginError(f"integration `{integration.name}`: a default of its options names no host: {error}")
            return self.failed(path, wrong)
        return None

    def prices(self, path: Path_, section: IntegrationSection, integration: Integration) -> BuildResult | None:
        """A failure if an operation has no price or a price no operation; None if all match."""
        priced: list[Operation | Job] = [*integration.operations, *integration.jobs]
        charges = [one.charge for one in priced]
        by_key = {charge.price for charge in integration.charges}
        charged = sorted({charge.price for charge in charges if not isinstance(charge, Free)} | by_key)
        wrong = None
        for version, prices in section.price_versions.items():
            where: Path_ = (*path, "price_versions", version)
            if missing := sorted(by_key - set(prices)):
                wrong = self.mistake(where, f"price list `{version}` needs a price `{missing[0]}`")
            for name in sorted(set(prices) - by_key):
                meant = did_you_mean(name, sorted(by_key))
                wrong = self.mistake((*where, name), f"`{name}` is no charge by key of `{integration.name}`{meant}")
        for name in charged:
            if name not in section.price:
                wrong = self.mistake(path, f"integration `{integration.name}` needs a price `{name}`")
        for name in section.price:
            if name not in charged:
                meant = did_you_mean(name, charged)
                message = f"integration `{integration.name}` charges nothing as `{name}`{meant}"
                wrong = self.mistake((*path, "price", name), message)
        return wrong

    def plugin_states(self) -> list[PluginState]:
        """Every plugin that is named or installed, with the best state of its sections."""
        states = {}
        for name, one in installed().items():
            states[one.where] = PluginState(
                name, "?", one.source, one.where, one.version, "off", "nothing in kaixu.yaml names it"
            )
        for plugin in self.loader.loaded.values():
            found = plugin.found
            outcomes = self.outcomes.get(found.where, [BuildResult("on", None)])
            order: tuple[State, ...] = ("on", "failed", "off")
            state, reason = min(outcomes, key=lambda outcome: order.index(outcome.state))
            states[found.where] = PluginState(
                plugin.name, plugin.kind, found.source, found.where, found.version, state, reason
            )
        for name, (kind, missing, error) in self.loader.failed.items():
            source, where, version = (
                (missing.source, missing.where, missing.version) if missing else ("file", name, None)
            )
            state, reason = self.not_installed.get(name, BuildResult("failed", str(error)))
            states[where] = PluginState(name, kind, source, where, version, state, reason)
        return sorted(states.values(), key=lambda state: (state.kind, state.name))

"""The webhooks of integrations: their jobs, and where they are served."""

from __future__ import annotations

import re

from kaixu.plugin.callback import Callback
from kaixu.plugin.errors import PluginError
from kaixu.plugin.operation import Free, Integration, Job, Operation, Retry, Schedule
from kaixu.plugin.webhook import Webhook, WebhookDelivery

from .core_names import CORE_FUNCTIONS

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MOST_ATTEMPTS = 100
MOST_TIMEOUT_S = 3600
MOST_REPLY = 1000


def kind_of(integration: str, webhook: Webhook) -> str:
    """The name of the job that handles the events of a webhook."""
    return f"{integration}.webhooks.{webhook.name}"


def job_of(integration: str, webhook: Webhook) -> Job:
    """The job that handles the events of a webhook."""
    return Job(
        kind_of(integration, webhook),
        webhook.handler,
        WebhookDelivery,
        Free("vendors send it"),
        retry=Retry(attempts=webhook.attempts),
        timeout_s=webhook.timeout_s,
    )


def check_webhooks(integration: Integration) -> None:
    """Check names, aliases and limits. Raises `PluginError`."""
    names = [one.name for one in integration.webhooks]
    aliases = [alias for one in integration.webhooks for alias in one.aliases]
    for name in [*names, *aliases]:
        if not NAME.fullmatch(name):
            raise PluginError(f"webhook `{name}` must be named in small letters, digits and hyphens")
        if names.count(name) > 1 or aliases.count(name) > 1:
            raise PluginError(f"webhook `{name}` is registered twice")
    taken = {alias for one in integration.operations for alias in one.aliases}
    # What is no callback is told by the check of callbacks.
    taken |= {alias for one in integration.callbacks if isinstance(one, Callback) for alias in one.aliases}
    for alias in aliases:
        if alias in CORE_FUNCTIONS:
            raise PluginError(f"webhook alias `{alias}` is an endpoint of the gateway itself")
        if alias in taken:
            raise PluginError(f"webhook alias `{alias}` is that of an operation or callback already")
    for one in integration.webhooks:
        if not 1 <= one.attempts <= MOST_ATTEMPTS:
            raise PluginError(f"webhook `{one.name}` can be tried 1 to {MOST_ATTEMPTS} times, not {one.attempts}")
        if not 0 < one.timeout_s <= MOST_TIMEOUT_S:
            raise PluginError(f"webhook `{one.name}` may take up to {MOST_TIMEOUT_S} s, not {one.timeout_s}")
        if one.reply is not None and (not isinstance(one.reply, str) or len(one.reply) > MOST_REPLY):
            raise PluginError(f"the reply of webhook `{one.name}` is a text of up to {MOST_REPLY} characters")
    offered: list[Operation | Job | Schedule] = [*integration.operations, *integration.jobs, *integration.schedules]
    for name in (one.name for one in offered):
        if integration.webhooks and name.startswith(f"{integration.name}.webhooks."):
            raise PluginError(f"`{name}` cannot be named like a webhook")

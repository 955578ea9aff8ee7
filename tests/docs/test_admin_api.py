"""docs/operators/admin-api.md has every admin endpoint; its commands run, and its replies are as shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kaixu.accounts.customers import CHANGEABLE as OF_CUSTOMERS
from kaixu.accounts.fields import ROLES
from kaixu.accounts.keys import AT_CREATION as OF_KEYS
from kaixu.accounts.shared_fields import FIELDS as OF_PAYMENTS
from kaixu.gateway.app import Application
from tests.api.admin.conftest import app, services
from tests.support.process import SECRETS, Process

from .pages import run, same_shape, shown, text_of

__all__ = ["app", "services"]  # fixtures

PAGE = text_of("docs/operators/admin-api.md")
CONFIG = """
lanes: {local: {plugin: echo, models: {local-chat: {type: chat, price: {input: 1, output: 2}}}}}
plans: {pro: {cap: 200.00, price_factor: 0.9}}
platforms:
  backup_model: local/local-chat
  surfaces:
    cohort-command:
      {title: Cohort Command, launch_url: /cohort-command/, storage_mode: platform-state, summary_fields: [cohort_name]}
"""


def test_every_admin_endpoint_has_its_section(app: Application) -> None:
    prefix = "/api/"
    served = {
        f"{route.method} {path.removeprefix(prefix)}"
        for route in app.exchange.routes.all
        for path in route.paths
        if path.startswith((f"{prefix}admin-", f"{prefix}monitor-", f"{prefix}session-", f"{prefix}health"))
    }
    told = set(re.findall(r"^### ([A-Z]+ [a-z-]+)$", PAGE, re.MULTILINE))
    assert told == served - {"POST health", "POST monitor-archive-prune"}  # told with others


@pytest.mark.parametrize("stand_in", [False, True], ids=["the machine's curl", "a stand-in for curl"])
async def test_its_commands_run_and_its_replies_are_as_shown(dsn: str, tmp_path: Path, stand_in: bool) -> None:
    gateway = await Process(tmp_path / "home", dsn, CONFIG).start()
    told = shown(PAGE)
    try:
        printed = await run(
            [one.commands for one in told],
            tmp_path,
            {"GATEWAY": gateway.url, "ADMIN_PASSWORD": SECRETS["ADMIN_PASSWORD"]},
            stand_in=stand_in,
        )
    finally:
        await gateway.stop()
    assert len([one for one in told if one.reply is not None]) > 12
    for one, real in zip(told, printed, strict=True):
        if one.reply is not None:
            same_shape(one.reply, json.loads(real))


@pytest.mark.parametrize(("section", "fields"), [("Customers", {**OF_CUSTOMERS, **OF_PAYMENTS}), ("Keys", OF_KEYS)])
def test_every_field_is_named(section: str, fields: dict[str, object]) -> None:
    table = PAGE.split(f"\n## {section}\n")[1].split("\n### ")[0]
    told = [name for line in table.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])]  # fmt: skip
    assert sorted(told) == sorted(fields)


def test_every_role_is_named() -> None:
    section = PAGE.split("### Roles\n")[1].split("\n## ")[0]
    assert all(f"`{role}`" in section for role in ROLES)

"""KaixuPush: customers publish sites at Netlify, in pushes that are followed to their end and billed when live.

Each file has a part: `begin` a push, `uploads` and `parts` of its files, `assemble` and `watch` are its jobs.
"""

from __future__ import annotations

from kaixu.plugin import Integration, RegisterIntegration, hookimpl

from . import (
    admin_panels,
    assemble,
    begin,
    billing,
    dashboard_panel,
    expire,
    history,
    parts,
    projects,
    status,
    tokens,
    uploads,
    watch,
)
from .options import PushCustomer, PushOptions

PARTS = (
    tokens.PART, projects.PART, begin.PART, uploads.PART, parts.PART, status.PART, billing.PART, history.PART,
    assemble.PART, watch.PART, expire.PART, admin_panels.PART, dashboard_panel.PART,
)  # fmt: skip

INTEGRATION = Integration(
    "push",
    [one for part in PARTS for one in part.operations],
    options=PushOptions,
    customer=PushCustomer,
    schema="schema",
    jobs=[one for part in PARTS for one in part.jobs],
    secrets=[one for part in PARTS for one in part.secrets],
    books=[billing.BOOK],
    charges=billing.CHARGES,
    panels=[one for part in PARTS for one in part.panels],
    grants={"customers"},
    keeps=["invoice"],
)


@hookimpl
def register_integrations(register: RegisterIntegration) -> None:
    register(INTEGRATION)

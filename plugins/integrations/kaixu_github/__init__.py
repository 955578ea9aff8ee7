"""GitHub push: a ZIP becomes one commit in a repository of the customer's at GitHub."""

from __future__ import annotations

from kaixu.plugin import Integration, RegisterIntegration, Secret, hookimpl

from . import connecting, last_look, operators, panels, pushes, repositories, tokens
from .account import TOKEN
from .billing import BOOK, CHARGES
from .options import GitHubCustomer, GitHubOptions
from .push_job import JOBS

INTEGRATION = Integration(
    "github",
    [*tokens.OPERATIONS, *repositories.OPERATIONS, *connecting.OPERATIONS, *pushes.OPERATIONS, *operators.OPERATIONS],
    options=GitHubOptions,
    customer=GitHubCustomer,
    schema="schema",
    secrets=[Secret(TOKEN, title="GitHub token", shown_as="has_github_token")],
    books=[BOOK],
    charges=CHARGES,
    grants={"customers"},
    jobs=[*JOBS, *last_look.JOBS],
    callbacks=connecting.CALLBACKS,
    panels=panels.PANELS,
)


@hookimpl
def register_integrations(register: RegisterIntegration) -> None:
    """Register GitHub push."""
    register(INTEGRATION)

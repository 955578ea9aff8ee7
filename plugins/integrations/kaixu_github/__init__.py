"""GitHub push: a ZIP becomes one commit in a repository of the customer's at GitHub."""

from __future__ import annotations

from kaixu.plugin import (
    Book,
    BookFacts,
    Failure,
    Integration,
    Monthly,
    PerCall,
    PerUnit,
    RegisterIntegration,
    Secret,
    hookimpl,
)  # fmt: skip

from . import connecting, panels, pushes, repositories, tokens
from .account import TOKEN
from .options import GitHubCustomer, GitHubOptions
from .push_job import JOBS

GIB = 1 << 30


def cap_reached(facts: BookFacts) -> Failure:
    """The book's cap has no room for a push."""
    return Failure(
        402,
        "GITHUB_CAP_REACHED",
        "The monthly cap for pushes to GitHub is reached",
        hint="Ask your operator for a higher cap, or wait for the next month (UTC).",
        fields={
            "month": f"{facts.month.month:%Y-%m}",
            "pricing_version": facts.month.pricing_version,
            "monthly_cap_cents": facts.cap_nusd // 10**7,
            "left_cents": facts.left_nusd // 10**7,
        },
    )


INTEGRATION = Integration(
    "github",
    [*tokens.OPERATIONS, *repositories.OPERATIONS, *connecting.OPERATIONS, *pushes.OPERATIONS],
    options=GitHubOptions,
    customer=GitHubCustomer,
    schema="schema",
    secrets=[Secret(TOKEN, title="GitHub token", shown_as="has_github_token")],
    books=[Book("github", title="GitHub push", cap="cap", version="price_list", refused=cap_reached)],
    charges=[
        PerCall("push", book="github"),
        PerUnit("gib", unit="bytes", per=GIB, book="github"),
        Monthly("base", book="github"),
    ],
    jobs=JOBS,
    callbacks=connecting.CALLBACKS,
    panels=panels.PANELS,
)


@hookimpl
def register_integrations(register: RegisterIntegration) -> None:
    """Register GitHub push."""
    register(INTEGRATION)

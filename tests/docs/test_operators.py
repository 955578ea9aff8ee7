"""docs/operators/operators.md names every role, every scope with what it opens, and what the numbers are."""

from __future__ import annotations

import ast
import re

import yaml

from kaixu.accounts import login, operator_factors, operator_invitations, operator_passwords, operator_tokens
from kaixu.accounts.operator_identity import ROLES, SCOPES
from kaixu.accounts.operator_login import PER_ACCOUNT
from kaixu.config.operators_section import OperatorsSection

from .pages import ROOT, blocks, text_of

PAGE = text_of("docs/operators/operators.md")


def rows_of(section: str) -> dict[str, str]:
    """The rows of a section's table: the name and the text."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([a-z]+)` \| (.+) \|$", text, re.MULTILINE))


def test_the_roles_and_scopes_are_the_program_s() -> None:
    assert set(rows_of("Roles")) == set(ROLES)
    told = {name: text.replace(", `/metrics`", "") for name, text in rows_of("API tokens").items()}
    assert told == SCOPES


def test_the_numbers_are_the_program_s() -> None:
    assert (PER_ACCOUNT, login.PER_ADDRESS, login.IN_ALL) == (10, 10, 100)
    assert (operator_passwords.THREADS, operator_passwords.MAX_WAITING) == (2, 16)
    assert (operator_factors.MOST_TRIES, operator_factors.RECOVERY_CODES) == (5, 10)
    assert (operator_invitations.HOURS, operator_tokens.DAYS) == (72, 90)
    for words in ("Ten wrong passwords in 15 minutes", "a hundred in all", "16 wait", "five tries", "within 72 hours"):
        assert words in PAGE


def test_the_example_of_single_sign_on_is_valid() -> None:
    [example] = blocks(PAGE, "yaml")
    section = OperatorsSection.model_validate(yaml.safe_load(example)["operators"])
    assert section.oidc is not None
    assert section.oidc.roles == {"gateway-owners": "owner", "gateway-team": "operator"}


def actions_in(path: str) -> set[str]:
    """The actions that a file writes to the audit log, as far as they are written out."""
    calls = (node for node in ast.walk(ast.parse(path)) if isinstance(node, ast.Call))
    events = (call for call in calls if getattr(call.func, "id", "") == "AuditEvent" and len(call.args) > 1)
    texts = (node.value for call in events for node in ast.walk(call.args[1]) if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and not text.endswith("_")}


def test_every_action_of_the_audit_log_is_listed() -> None:
    told = set(
        re.findall(r"`([A-Za-z._]+)`", text_of("docs/operators/admin-api.md").split("\nActions: ")[1].split("\n")[0])
    )
    written = set().union(*(actions_in(path.read_text()) for path in (ROOT / "kaixu").rglob("*.py")))
    assert len(written) > 30
    assert written <= told

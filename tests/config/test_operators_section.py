"""The section `operators:`: what is refused at start, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.config.operators_section import OperatorsSection

OIDC = "issuer: https://accounts.example.com, client_id: kaixu"


def test_by_default_the_admin_password_is_the_way_in() -> None:
    section = OperatorsSection()
    assert (section.admin_password, section.sso_only, section.session_h, section.oidc) == (True, False, 12, None)


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("sso_only: true", "`sso_only` needs `oidc`"),
        ("session_h: 0", "session_h"),
        ("sessions_h: 1", "sessions_h"),
        (f"oidc: {{{OIDC}}}", "which role new operators get"),
        (f"oidc: {{{OIDC}, role_claim: groups}}", "belong together"),
        (f"oidc: {{{OIDC}, roles: {{a: owner}}}}", "belong together"),
        (f"oidc: {{{OIDC}, default_role: king}}", "default_role"),
        (f"oidc: {{{OIDC}, default_role: viewer, scopes: [email]}}", "must contain openid"),
        (f"oidc: {{{OIDC}, default_role: viewer, domains: [Example.com]}}", "domains"),
        (f"oidc: {{{OIDC}, default_role: viewer, redirect_url: http://gateway.example}}", "https://"),
        ("oidc: {issuer: http://accounts.example.com, client_id: k, default_role: viewer}", "https://"),
        ("oidc: {issuer: https://me:secret-word@accounts.example.com, client_id: k, default_role: viewer}", "https://"),
        ("oidc: {client_id: k, default_role: viewer}", "issuer"),
    ],
)
def test_a_mistake_is_named_and_shows_no_secret(tmp_path: Path, inside: str, words: str) -> None:
    path = tmp_path / "kaixu.yaml"
    path.write_text(f"operators: {{{inside}}}")
    with pytest.raises(ConfigError) as refused:
        load(path, {})
    assert words in str(refused.value)
    assert "secret-word" not in str(refused.value)


def test_the_client_secret_is_hidden(tmp_path: Path) -> None:
    path = tmp_path / "kaixu.yaml"
    path.write_text(f"operators: {{oidc: {{{OIDC}, client_secret: '${{S}}', default_role: viewer}}}}")
    environment: dict[str, Any] = {"S": "the secret itself"}
    section = load(path, environment).operators
    assert section.oidc is not None
    assert section.oidc.client_secret is not None
    assert section.oidc.client_secret.get_secret_value() == "the secret itself"
    assert "the secret itself" not in repr(section)

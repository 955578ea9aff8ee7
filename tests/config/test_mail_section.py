"""The section `mail:`, and what needs it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kaixu.config.addresses import ascii_domain, mail_address
from kaixu.config.check import check
from kaixu.config.mail_section import MailSection
from kaixu.config.mistakes import ConfigError
from kaixu.config.read import read_text

LEAST = {"host": "smtp.example.com", "from": "gateway@example.com"}


@pytest.mark.parametrize(("tls", "port"), [("starttls", 587), ("implicit", 465), ("none", 25)])
def test_the_port_follows_the_encryption(tls: str, port: int) -> None:
    assert MailSection.model_validate(LEAST | {"tls": tls}).server_port == port
    assert MailSection.model_validate(LEAST | {"tls": tls, "port": 2525}).server_port == 2525


def test_a_sender_may_have_a_name() -> None:
    section = MailSection.model_validate(LEAST | {"from": "Example, the best <gateway@example.com>"} | {"from": '"Example, Ltd" <gateway@example.com>'})  # fmt: skip
    assert (section.sender_name, section.sender_address) == ("Example, Ltd", "gateway@example.com")


@pytest.mark.parametrize(
    "fields",
    [
        {"from": "gateway"},
        {"from": "a@example.com, b@example.com"},
        {"from": "x <a@example.com>\r\nBcc: b@example.com"},
        {"from": ""},
        {"host": ""},
        {"host": "smtp example"},
        {"host": "smtp://example.com"},
        {"port": 0},
        {"port": 70000},
        {"tls": "ssl"},
        {"user": "a"},
        {"password": "b"},
        {"tls": "none", "user": "a", "password": "b"},
        {"timeout_s": 0},
        {"timeout_s": 3600},
        {"reply_to": "x"},
        {"sender": "a@example.com"},
    ],
    ids=str,
)
def test_mistakes(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MailSection.model_validate(LEAST | fields)


def test_a_password_may_go_in_the_clear_to_this_machine() -> None:
    for host in ("localhost", "127.0.0.1", "::1"):
        MailSection.model_validate(LEAST | {"host": host, "tls": "none", "user": "a", "password": "b"})


@pytest.mark.parametrize(
    "text",
    ["invoices: {mail: true}", "selfservice: {mode: email}", "selfservice: {mode: approval}"],
)
def test_what_sends_mails_needs_the_section(text: str) -> None:
    with pytest.raises(ConfigError, match="add a section `mail:`"):
        check(read_text(text, "kaixu.yaml", {}))
    check(read_text(f"{text}\nmail: {{host: smtp.example.com, from: gateway@example.com}}", "kaixu.yaml", {}))


@pytest.mark.parametrize("value", ["a@b.co", "a.b+c@x.example.com", "jürgen@bücher.example", "a_b-c%d@example.com"])
def test_addresses(value: str) -> None:
    assert mail_address(value) == value


@pytest.mark.parametrize(
    "domain",
    ["", ".", "example", "-x.com", "x..com", "faß.example", "x_y.com", "a" * 64 + ".com", "x.com\n", "1.2.3.4\0"],
)
def test_what_is_no_domain(domain: str) -> None:
    with pytest.raises(ValueError, match="domain"):
        ascii_domain(domain)

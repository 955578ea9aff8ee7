"""The section `alerts:`."""

from __future__ import annotations

import pytest

from kaixu.config.alerts_section import AlertsSection

from .test_check import checked, complaints

MAIL = "\nmail: {host: localhost, from: gateway@example.com}"


def test_thresholds_are_those_of_the_file_or_fifty_the_warning_and_a_hundred() -> None:
    assert AlertsSection().cap_thresholds(85) == [50, 85, 100]
    assert AlertsSection().cap_thresholds(50) == [50, 100]
    assert checked("alerts: {thresholds: [90, 20, 90]}").alerts.cap_thresholds(85) == [20, 90]
    assert checked("alerts: {thresholds: []}").alerts.cap_thresholds(85) == []


def test_a_loss_is_in_dollars() -> None:
    assert AlertsSection().least_loss_nusd == 10_000_000
    assert checked("alerts: {least_loss: 0.000000001}").alerts.least_loss_nusd == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "thresholds: [0]",
        "thresholds: [101]",
        "thresholds: [1.5]",
        "thresholds: [true]",
        "thresholds: 85",
        f"thresholds: [{', '.join(map(str, range(1, 12)))}]",
        "mail: [nobody]",
        "mail: ops@example.com",
        "mail_types: [NONSENSE]",
        "least_loss: -1",
        "webhooks: {ops: {}}",
        "webhooks: {ops: {url: ftp://hooks.example.com}}",
        "webhooks: {ops: {url: 'http://'}}",
        "webhooks: {ops: {url: 'https://hooks.example.com/ä'}}",
        "webhooks: {ops: {url: 'https://[::1/'}}",
        "webhooks: {ops: {url: https://hooks.example.com, secret: short}}",
        "webhooks: {ops: {url: https://hooks.example.com, types: [NONSENSE]}}",
        "webhooks: {Ops Team: {url: https://hooks.example.com}}",
    ],
)
def test_what_is_wrong_is_said_without_its_value(wrong: str) -> None:
    [complaint] = complaints(f"alerts: {{{wrong}}}{MAIL}")
    assert complaint.startswith("kaixu.yaml:1:")
    assert "hooks.example.com" not in complaint
    assert "short" not in complaint.replace("shorter", "")


def test_secrets_of_receivers_are_not_shown() -> None:
    section = checked(
        "alerts: {webhooks: {ops: {url: https://hooks.example.com/T0, secret: a-secret-of-16-or-more}}}"
    ).alerts
    assert "T0" not in repr(section)
    assert "a-secret" not in repr(section)


@pytest.mark.parametrize("given", ["mail: [ops@example.com]", "customers: true"])
def test_mails_about_alerts_need_settings_for_mail(given: str) -> None:
    [complaint] = complaints(f"alerts: {{{given}}}")
    assert "needs the section `mail:`" in complaint
    checked(f"alerts: {{{given}}}{MAIL}")

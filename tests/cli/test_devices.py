"""`kaixu devices`, and the values that `none` takes away."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import asyncpg
import pytest

from tests.support.calls import admit
from tests.support.money import customer, virtual_key

from .conftest import Piped


def read(ran: subprocess.CompletedProcess[str]) -> Any:
    """The JSON that a command printed."""
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


async def test_a_device_is_listed_shut_out_and_let_in_again_where_a_seat_is_free(
    piped: Piped, pool: asyncpg.Pool
) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id, max_devices=1, label="laptop")
    await admit(pool, key_id, install_id="first")
    listed = read(piped("devices", "list", str(customer_id), "--json"))
    assert [(one["key"], one["install_id"], one["state"]) for one in listed] == [(key_id, "first", "seated")]
    revoked = read(piped("devices", "revoke", str(key_id), "first", "--json"))
    assert (revoked["state"], revoked["revoked_by"]) == ("revoked", "operator")
    await admit(pool, key_id, install_id="second")
    full = piped("devices", "unrevoke", str(key_id), "first")
    assert (full.returncode, full.stdout) == (1, "")
    assert "all device seats" in full.stderr
    assert "Revoke another device first" in full.stderr
    read(piped("devices", "revoke", str(key_id), "second", "--json"))
    assert read(piped("devices", "unrevoke", str(key_id), "first", "--json"))["state"] == "seated"
    listed = read(piped("devices", "list", "customer0@example.com", "--key", str(key_id), "--json"))
    assert {one["install_id"]: one["state"] for one in listed} == {"first": "seated", "second": "revoked"}
    assert await pool.fetchval("select count(*) from kaixu.audit_event where action like 'DEVICE_%'") == 3
    table = piped("devices", "list", str(customer_id)).stdout
    assert "laptop" in table


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("revoke", "1", "nobody"), "has no device `nobody`"),
        (("revoke", "4711", "nobody"), "there is no key 4711"),
        (("revoke", "0", "nobody"), "`key_id` is not an id"),
        (("unrevoke", "1", "x" * 81), "`install_id` is not an install id"),
        (("list", "nobody@example.com"), "there is no customer"),
    ],
    ids=["no such device", "no such key", "no id", "too long", "no such customer"],
)
async def test_a_device_that_is_not_there_is_one_line(
    words: tuple[str, ...], said: str, piped: Piped, pool: asyncpg.Pool
) -> None:
    await virtual_key(pool, await customer(pool))
    ran = piped("devices", *words)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said in ran.stderr


def test_none_takes_a_limit_away(piped: Piped) -> None:
    read(piped("customers", "create", "ada@example.com", "--cap", "1000", "--json"))
    limits = (
        "--cap",
        "500",
        "--rpm",
        "7",
        "--rpd",
        "70",
        "--seats",
        "2",
        "--providers",
        "echo",
        "--require-install-id",
    )
    key = read(piped("keys", "create", "ada@example.com", *limits, "--models", '{"*": ["chat"]}', "--json"))
    assert (key["cap_usd"], key["rpm"], key["rpd"], key["seats"]) == ("5.00", 7, 70, 2)
    assert (key["install_id_required"], key["allowed_providers"]) == (True, ["echo"])
    gone = [word for name in ("cap", "rpm", "rpd", "seats", "providers", "models") for word in (f"--{name}", "none")]
    key = read(piped("keys", "change", str(key["id"]), *gone, "--install-id-as-customer", "--json"))
    names = ("cap_usd", "rpm", "rpd", "seats", "install_id_required", "allowed_providers", "allowed_models")
    assert [key[name] for name in names] == [None] * len(names)
    given = ("--seats", "3", "--providers", "echo", "--models", '{"*": ["chat"]}')
    read(piped("customers", "change", "ada@example.com", *given, "--json"))
    gone = ["--seats", "none", "--providers", "None", "--models", "NONE"]
    changed = read(piped("customers", "change", "ada@example.com", *gone, "--json"))
    assert [changed[name] for name in ("seats_per_key", "allowed_providers", "allowed_models")] == [None] * 3
    changed = read(piped("customers", "change", "ada@example.com", "--max-vectors", "5000", "--json"))
    assert changed["max_vectors"] == 5000
    changed = read(piped("customers", "change", "ada@example.com", "--max-vectors", "none", "--json"))
    assert changed["max_vectors"] is None
    key = read(piped("keys", "create", "ada@example.com", "--collections", "My docs, wiki", "--json"))
    assert key["allowed_collections"] == ["My-docs", "wiki"]
    assert read(piped("keys", "rotate", str(key["id"]), "--json"))["allowed_collections"] == ["My-docs", "wiki"]
    key = read(piped("keys", "change", str(key["id"]), "--collections", "none", "--json"))
    assert key["allowed_collections"] is None
    for words, said in (
        (("keys", "change", str(key["id"]), "--rpm", "many"), "`--rpm` must be a whole number"),
        (("keys", "change", str(key["id"]), "--cap", "5.00"), "`--cap-cents` must be a whole number"),
        (("customers", "change", "ada@example.com", "--max-vectors", "-1"), "`--max-vectors` must lie between 0 and"),
        (("customers", "change", "ada@example.com"), "nothing to change"),
        (("customers", "change", "ada@example.com", "--cap", "none"), "`--cap-cents` must be a whole number"),
    ):
        ran = piped(*words)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert said in ran.stderr


def test_a_row_is_a_line_in_a_pipe_however_long(piped: Piped) -> None:
    email = f"{'a' * 64}@{'b' * 60}.example.com"
    read(piped("customers", "create", email, "--plan", "p" * 40, "--json"))
    for columns in ("80", "20"):
        lines = piped("customers", "list", COLUMNS=columns).stdout.splitlines()
        assert len(lines) == 3
        assert email in lines[2]
        assert "p" * 40 in lines[2]
        assert all(line == line.rstrip() for line in lines)


async def test_keys_are_listed_by_role_and_devices_in_pages(piped: Piped, pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    viewer, _ = await virtual_key(pool, customer_id, role="viewer")
    listed = read(piped("keys", "list", str(customer_id), "--role", "viewer", "--json"))
    assert [one["id"] for one in listed] == [viewer]
    assert "`--role` must be one of" in piped("keys", "list", str(customer_id), "--role", "king").stderr
    for name in ("first", "second"):
        await admit(pool, key_id, install_id=name)
    table = piped("devices", "list", str(customer_id), "--limit", "1").stdout
    cursor = table.rpartition("--cursor '")[2].rstrip("\n'")
    rest = read(piped("devices", "list", str(customer_id), "--cursor", cursor, "--json"))
    assert [one["install_id"] for one in rest] == ["first"]

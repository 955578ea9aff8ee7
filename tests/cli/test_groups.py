"""`kaixu groups`, and the limits of keys and customers on the command line."""

from __future__ import annotations

import asyncpg

from tests.support.money import customer, virtual_key

from .conftest import Piped
from .test_devices import read


async def test_a_group_is_made_filled_changed_and_deleted(piped: Piped, pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    group = read(piped("groups", "create", str(customer_id), "lab", "--cap-cents", "500", "--tpm", "1000", "--json"))
    assert (group["name"], group["cap_usd"], group["tpm"], group["keys"]) == ("lab", "5.00", 1000, 0)
    number = str(group["id"])
    assert read(piped("keys", "change", str(key_id), "--group", number, "--json"))["group_id"] == group["id"]
    changed = read(piped("groups", "change", number, "--tpm", "none", "--rpm", "7", "--day-cap", "50", "--json"))
    assert (changed["tpm"], changed["rpm"], changed["day_cap_usd"], changed["keys"]) == (None, 7, "0.50", 1)
    assert read(piped("groups", "list", "customer0@example.com", "--json")) == [changed]
    used = piped("groups", "delete", number)
    assert (used.returncode, used.stdout) == (1, "")
    assert "1 keys are in group `lab`" in used.stderr
    read(piped("keys", "change", str(key_id), "--group", "none", "--json"))
    assert read(piped("groups", "delete", number, "--json")) == {"id": group["id"], "deleted": True}
    nothing = piped("groups", "change", number)
    assert (nothing.returncode, "nothing to change" in nothing.stderr) == (1, True)


async def test_limits_of_keys_and_customers_are_set_shown_and_taken_away(piped: Piped, pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    limits = '{"up/m": {"rpm": 3}}'
    made = read(
        piped(
            "keys",
            "create",
            str(customer_id),
            "--tpm",
            "1000",
            "--day-cap-cents",
            "100",
            "--limits",
            limits,
            "--expires",
            "2090-01-31T00:00:00Z",
            "--json",
        )
    )
    shown = read(piped("keys", "show", str(made["id"]), "--json"))
    assert (shown["tpm"], shown["day_cap_usd"], shown["limits"], shown["state"]) == (
        1000,
        "1.00",
        {"up/m": {"rpm": 3}},
        "live",
    )
    assert shown["expires_at"].startswith("2090-01-31T00:00:00")
    words = ("--tpm", "none", "--day-cap", "none", "--limits", "none", "--expires", "2020-01-01T00:00:00Z")
    changed = read(piped("keys", "change", str(made["id"]), *words, "--json"))
    assert (changed["tpm"], changed["day_cap_usd"], changed["limits"], changed["state"]) == (
        None,
        None,
        None,
        "expired",
    )
    assert read(piped("keys", "change", str(made["id"]), "--expires", "none", "--json"))["state"] == "live"
    row = read(piped("customers", "change", str(customer_id), "--tpm", "7", "--day-cap-cents", "9", "--json"))
    assert (row["tpm"], row["day_cap_usd"]) == (7, "0.09")
    wrong = piped("keys", "change", str(made["id"]), "--limits", "{")
    assert (wrong.returncode, "`--limits` is not JSON" in wrong.stderr) == (1, True)

"""What a call can do with its customer's secrets and settings, and what it cannot."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, cast

import asyncpg
import msgspec
import pytest

from kaixu.accounts.customer_deletion import delete_customer
from kaixu.metering.charges import Meter
from kaixu.metering.customer_data import CustomerData
from kaixu.metering.integration_wire import IntegrationWire
from kaixu.metering.operation_call import OperationCall, handler_limits
from kaixu.ops.sealing import Sealer
from kaixu.plugin.access import Caller
from kaixu.plugin.errors import (
    Conflict,
    KaixuError,
    NotFound,
    PluginFailed,
    TicketClosed,
    Unprocessable,
    UpstreamError,
    UpstreamRejected,
)
from kaixu.plugin.operation import Free, Integration
from kaixu.plugin.refusals import refusal
from kaixu.plugin.secret import Secret
from kaixu.store.rights import Reach
from tests.support.blobs import no_blobs
from tests.support.money import customer

from .test_operation_ticket import wire_of

SEALER = Sealer("a secret of the tests")
TOKEN = "nfp_0123456789-token"


class PushCustomer(msgspec.Struct):
    stripe_customer_id: str | None = None
    cap_cents: int = 500
    sites: list[str] = []


PUSH = Integration(
    "push",
    operations=[],
    secrets=[Secret("token", title="Netlify token", shown_as="has_netlify_token"), Secret("other", title="Another")],
    customer=PushCustomer,
    unique=("stripe_customer_id",),
)


def data_of(
    pool: asyncpg.Pool, customer_id: int | None, *, sealer: Sealer = SEALER, integration: Integration = PUSH
) -> CustomerData:
    """What one call of the customer may use."""
    wire = wire_of(Meter(Free("a test"), 0))
    reach = Reach(integration, sealer, f"integration:{integration.name}", wire.lent_secrets, lambda: False)
    return CustomerData(reach, customer_id, pool=lambda: pool, wire=wire, request_id="r1")


async def audited(pool: asyncpg.Pool) -> list[tuple[Any, ...]]:
    """The audit log."""
    rows = await pool.fetch("select actor, action, target, before, after, meta from kaixu.audit_event order by id")
    return [tuple(row) for row in rows]


async def test_a_secret_is_stored_encrypted_read_again_and_removed(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    data = data_of(pool, customer_id)
    assert (await data.get("token"), await data.info("token"), await data.clear("token")) == (None, None, False)
    await data.put("token", TOKEN, meta={"scopes": ["repo"]})
    assert await data_of(pool, customer_id).get("token") == TOKEN
    info = await data.info("token")
    assert info is not None
    assert (info.meta, info.set_by) == ({"scopes": ["repo"]}, "integration:push")
    await data.put("token", TOKEN + "2")
    assert await data.get("token") == TOKEN + "2"
    row = await pool.fetchval("select t::text || encode(sealed, 'escape') from kaixu.integration_secret t")
    assert TOKEN not in row
    assert await data.clear("token")
    assert await data.get("token") is None
    target, meta = f"customer:{customer_id}", {"integration": "push", "name": "token"}
    assert await audited(pool) == [
        ("integration:push", action, target, None, None, meta)
        for action in ("SECRET_SET", "SECRET_SET", "SECRET_CLEAR")
    ]


async def test_no_secret_of_another_customer_or_integration_is_read(pool: asyncpg.Pool) -> None:
    one, other = await customer(pool), await customer(pool)
    await data_of(pool, one).put("token", TOKEN)
    assert await data_of(pool, other).get("token") is None
    twin = msgspec.structs.replace(PUSH, name="pull")
    assert await data_of(pool, one, integration=twin).get("token") is None
    assert not await data_of(pool, other).clear("token")
    # A row that was moved is not opened either.
    for column, value in (("customer_id", other), ("name", "other"), ("integration", "pull")):
        async with pool.acquire() as connection:
            moved = connection.transaction()
            await moved.start()
            await connection.execute(f"update kaixu.integration_secret set {column} = $1", value)
            key = await connection.fetchrow("select customer_id, integration, name from kaixu.integration_secret")
            assert key is not None
            integration = PUSH if key["integration"] == "push" else twin
            stolen = data_of(cast(Any, connection), key["customer_id"], integration=integration)
            with pytest.raises(Conflict, match="cannot be decrypted"):
                await stolen.get(key["name"])
            await moved.rollback()
    assert await data_of(pool, one).get("token") == TOKEN


async def test_a_secret_needs_a_declaration_a_customer_and_an_open_call(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    data, nobodys = data_of(pool, customer_id), data_of(pool, None)
    for use in (data.get, data.info, data.clear, lambda name: data.put(name, TOKEN)):
        with pytest.raises(ValueError, match="declares no secret `password`"):
            await use("password")
    for use in (nobodys.get, nobodys.info, nobodys.clear, lambda name: nobodys.put(name, TOKEN)):
        with pytest.raises(ValueError, match="no customer"):
            await use("token")
    await data.put("token", TOKEN)
    data._wire.close()
    with pytest.raises(TicketClosed):
        data.require_open()
    uses: list[Any] = [
        data.get("token"), data.info("token"), data.clear("token"), data.put("token", "another"),
        data.settings(), data.change_settings({"cap_cents": 1}), data.customer_with("stripe_customer_id", "cus_1"),
    ]  # fmt: skip
    for used in uses:
        with pytest.raises(TicketClosed):
            await used
    assert await data_of(pool, customer_id).get("token") == TOKEN


@pytest.mark.parametrize(
    ("value", "meta"),
    [("", {}), ("  ", {}), ("x" * 16385, {}), (5, {}), ("\ud800", {}), (TOKEN, {"a": "x" * 5000}),
     (TOKEN, {"a": {"b": [f"Bearer {TOKEN}"]}}), (TOKEN, {"a": "\0"}), (TOKEN, {"a": object()})],
    ids=["empty", "blank", "long", "number", "surrogate", "long meta", "the value in meta", "NUL in meta", "no JSON"],
)  # fmt: skip
async def test_what_cannot_be_a_secret_is_refused_without_showing_it(
    pool: asyncpg.Pool, value: Any, meta: dict[str, Any]
) -> None:
    data = data_of(pool, await customer(pool))
    with pytest.raises(Unprocessable) as caught:
        await data.put("token", value, meta=meta)
    assert TOKEN not in f"{caught.value} {caught.value.hint}"
    assert await data.get("token") is None


async def test_while_the_key_is_replaced_both_open_and_afterwards_only_the_new_one(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    await data_of(pool, customer_id).put("token", TOKEN)
    new, both = Sealer("another secret"), Sealer("another secret", ["a secret of the tests"])
    with pytest.raises(Conflict):
        await data_of(pool, customer_id, sealer=new).get("token")
    assert await data_of(pool, customer_id, sealer=both).get("token") == TOKEN
    await data_of(pool, customer_id, sealer=both).put("token", TOKEN)
    assert await data_of(pool, customer_id, sealer=new).get("token") == TOKEN


async def test_no_error_and_no_log_shows_a_secret_that_the_call_has_used(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    customer_id = await customer(pool)
    await data_of(pool, customer_id).put("token", TOKEN)

    async def raised(error: Exception) -> KaixuError:
        data = data_of(pool, customer_id)
        await data.get("token")
        error.__cause__ = KeyError(f"token {TOKEN}")
        call = OperationCall(
            body=None, options=None, customer_id=customer_id, key_id=1, request_id="r", caller=Caller("key"),
            wire=cast(IntegrationWire, data._wire), meter=Meter(Free("a test"), 0), customer_data=data,
            open_transaction=cast(Any, None), scratch=Path("never-made"), blobs=no_blobs(data._wire),
        )  # fmt: skip
        try:
            async with handler_limits(call, "push.deploy", 5):
                raise error
        except KaixuError as shown:
            return shown
        raise AssertionError("it raises nothing")

    with caplog.at_level(logging.DEBUG):
        for error in (
            NotFound(f"no site for {TOKEN}", hint=f"ask {TOKEN}", field=TOKEN),
            ValueError(f"bad token {TOKEN!r}"),
            refusal(401, None, f"bad {TOKEN}".encode(), set()),
        ):
            shown = await raised(error)
            words = [str(shown), shown.message, shown.hint, shown.field, getattr(shown, "vendor_words", "")]
            assert TOKEN not in f"{words} {shown.__cause__!r}"
    assert "operation push.deploy failed" in caplog.text
    assert "ValueError: bad token '…'" in caplog.text
    assert TOKEN not in caplog.text
    # What a vendor quotes of it goes too, wherever the handler had put it.
    data = data_of(pool, customer_id)
    await data.get("token")
    quoted = refusal(400, None, f'{{"error": "unknown {TOKEN}"}}'.encode(), data._wire.secrets())
    assert isinstance(quoted, UpstreamRejected | UpstreamError)
    assert TOKEN not in f"{quoted.vendor_words} {quoted}"


async def test_settings_have_defaults_are_changed_and_noted(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    data = data_of(pool, customer_id)
    assert await data.settings() == PushCustomer()
    changed = await data.change_settings({"cap_cents": 900, "sites": ["a"]})
    assert changed == await data.settings() == PushCustomer(cap_cents=900, sites=["a"])
    assert await data.change_settings({"cap_cents": 900}) == changed  # changes nothing, so nothing is noted
    assert await audited(pool) == [
        (
            "integration:push", "INTEGRATION_SETTINGS", f"customer:{customer_id}",
            {"cap_cents": 500, "sites": []}, {"cap_cents": 900, "sites": ["a"]}, {"integration": "push"},
        )
    ]  # fmt: skip
    assert await data_of(pool, await customer(pool)).settings() == PushCustomer()


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"cap": 1}, "settings.cap"), ({"cap_cents": "1"}, "settings.cap_cents"), ({"sites": [1]}, "settings.sites[0]"),
     ({"stripe_customer_id": "\0"}, "settings"), ({"sites": ["x" * 70_000]}, "settings")],
    ids=["unknown", "another type", "inside", "NUL", "long"],
)  # fmt: skip
async def test_a_setting_that_is_not_possible_is_refused(
    pool: asyncpg.Pool, changes: dict[str, Any], field: str
) -> None:
    data = data_of(pool, await customer(pool))
    with pytest.raises(Unprocessable) as caught:
        await data.change_settings(changes)
    assert caught.value.field == field
    assert await data.settings() == PushCustomer()


async def test_a_unique_value_has_one_customer_who_can_be_looked_up(pool: asyncpg.Pool) -> None:
    customers = [await customer(pool) for _ in range(6)]

    async def take(customer_id: int) -> bool:
        try:
            await data_of(pool, customer_id).change_settings({"stripe_customer_id": "cus_1"})
        except Conflict:
            return False
        return True

    took = await asyncio.gather(*(take(one) for one in customers))
    assert sum(took) == 1
    owner = customers[took.index(True)]
    assert await data_of(pool, None).customer_with("stripe_customer_id", "cus_1") == owner
    assert await data_of(pool, None).customer_with("stripe_customer_id", "cus_2") is None
    assert await data_of(pool, None).customer_with("stripe_customer_id", "") is None
    with pytest.raises(ValueError, match="not a unique setting"):
        await data_of(pool, None).customer_with("cap_cents", 500)
    assert await take(owner)  # its own value is no conflict
    for one in customers[:2]:  # an empty value is nobody's
        await data_of(pool, one).change_settings({"stripe_customer_id": None})
    if owner not in customers[:2]:
        await data_of(pool, owner).change_settings({"stripe_customer_id": None})
    assert await take(customers[3])


async def test_a_setting_of_another_release_is_kept_and_ignored(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)

    class Earlier(PushCustomer):
        colour: str = "blue"

    class Later(msgspec.Struct):
        cap_cents: str = "500"

    earlier = msgspec.structs.replace(PUSH, customer=Earlier)
    await data_of(pool, customer_id, integration=earlier).change_settings({"colour": "red", "cap_cents": 7})
    data = data_of(pool, customer_id)
    assert await data.settings() == PushCustomer(cap_cents=7)
    await data.change_settings({"cap_cents": 8})
    again = await data_of(pool, customer_id, integration=earlier).settings()
    assert again == Earlier(cap_cents=8, colour="red")
    later = data_of(pool, customer_id, integration=msgspec.structs.replace(PUSH, customer=Later, unique=()))
    with pytest.raises(PluginFailed, match="not possible any more"):
        await later.settings()
    assert await later.change_settings({"cap_cents": "9"}) == Later("9")


async def test_a_deleted_customer_has_nothing_and_gets_nothing(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    data = data_of(pool, customer_id)
    await data.put("token", TOKEN)
    await data.change_settings({"stripe_customer_id": "cus_1"})
    email = await pool.fetchval("select email from kaixu.customer where id = $1", customer_id)
    done = await delete_customer(pool, customer_id, confirm=email, actor="admin", request_id="r")
    assert (done.removed["integration_secret"], done.removed["integration_setting"]) == (1, 1)
    for change in (data.put("token", TOKEN), data.change_settings({"stripe_customer_id": "cus_1"})):
        with pytest.raises(NotFound):
            await change
    assert await pool.fetchval("select count(*) from kaixu.integration_secret") == 0
    await data_of(pool, await customer(pool)).change_settings({"stripe_customer_id": "cus_1"})

"""`gateway(yaml)` for the tests of plugin authors: a real gateway, whose clock moves with its database's."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from kaixu.plugin.testing import gateway

from .shop import sign

ROOT = Path(__file__).parents[2]
SHOP = Path(__file__).parent / "shop"
YAML = f"""
integrations:
  shop: {{plugin: {SHOP}, price: {{order: 0.001, byte: 0.000001, plan: 1}}, grants: [credit, mail]}}
"""


async def test_a_customer_s_month_and_the_rows_of_a_plugin_follow_the_clock() -> None:
    async with gateway(YAML) as kaixu:
        ada = await kaixu.customer(monthly_cap_cents=10)
        assert (await kaixu.call("POST", "/v1/shop/order", {"item": "tea"}, key=ada.key)).status_code == 200
        before = (await kaixu.rows("select now()"))[0]["now"]
        assert abs(before - datetime.now(UTC)) < timedelta(minutes=5)
        [old] = await kaixu.rows("select created_at from kaixu_shop.orders")
        await kaixu.move(days=40)  # its schedule is due by now, and may delete the old order at any time
        months = "select month from kaixu.customer_month order by month"
        assert (await kaixu.call("POST", "/v1/shop/order", {"item": "coffee"}, key=ada.key)).status_code == 200
        await kaixu.idle()
        assert len(await kaixu.rows(months)) == 2
        [new] = await kaixu.rows("select created_at from kaixu_shop.orders where item = 'coffee'")
        assert new["created_at"] - old["created_at"] >= timedelta(days=40)
        await kaixu.schedule("shop.expire")
        assert [row["item"] for row in await kaixu.rows("select item from kaixu_shop.orders")] == ["coffee"]


async def test_a_webhook_is_verified_by_the_moved_clock() -> None:
    async with gateway(YAML) as kaixu:
        await kaixu.move(days=2)
        body = b'{"id": "e1", "type": "paid", "order": 1, "paid": 5}'
        for moment, status in ((datetime.now(UTC), 400), (datetime.now(UTC) + timedelta(days=2), 200)):
            reply = await kaixu.call("POST", "/v1/shop/webhooks/events", body, **sign(body, moment))
            assert reply.status_code == status
        await kaixu.idle()


async def test_a_gateway_that_crashes_starts_again_with_what_it_had() -> None:
    async with gateway(YAML) as kaixu:
        ada = await kaixu.customer(role="viewer")
        await kaixu.kill()
        with pytest.raises(httpx.TransportError):
            await kaixu.http.get("/api/health")
        await kaixu.start()
        reply = await kaixu.call("POST", "/v1/shop/read", {"id": 7}, key=ada.key)
        assert (reply.status_code, reply.json()["code"]) == (404, "NOT_FOUND")


async def test_two_gateways_share_nothing() -> None:
    async with gateway(YAML) as one, gateway(YAML) as other:
        ada = await one.customer()
        await one.move(days=3)
        assert (await other.call("POST", "/v1/shop/read", {"id": 7}, key=ada.key)).status_code == 401
        assert (await other.rows("select now()"))[0]["now"] < datetime.now(UTC) + timedelta(days=1)


async def test_commands_and_reloads_are_those_of_the_operator() -> None:
    async with gateway(YAML) as kaixu:
        shown = await kaixu.command("plugins", "--json")
        assert shown.code == 0
        assert "shop.order" in json.dumps(json.loads(shown.out))
        refused = await kaixu.reload(YAML.replace("order:", "ordr:"))
        assert (refused.code, "did you mean `order`" in refused.out + refused.err) == (1, True)
        assert (await kaixu.reload(YAML.replace("0.001", "0.002"))).code == 0


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("integrations: {nothing: {price: {}}}", "integration nothing: "),
        ("integrations: {shop: {plugin: [}}", "kaixu.yaml"),
        ("lanes: 7", "lanes"),
    ],
    ids=["not installed", "no YAML", "a mistake"],
)
async def test_a_gateway_that_cannot_serve_says_why(yaml: str, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        async with gateway(yaml):
            pass


async def test_tests_that_are_killed_leave_nothing(tmp_path: Path) -> None:
    script = tmp_path / "story.py"
    script.write_text(STORY)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    folder, url = (await process.stdout.readline()).decode().split()
    assert Path(folder).exists()
    process.kill()
    await process.wait()
    async with asyncio.timeout(30), httpx.AsyncClient() as http:
        while Path(folder).exists() or await answers(http, url):
            await asyncio.sleep(0.1)


STORY = """
import asyncio

from kaixu.plugin.testing import gateway


async def story():
    async with gateway("integrations: {}") as kaixu:
        print(kaixu.folder.parent, kaixu.url, flush=True)
        await asyncio.sleep(3600)


asyncio.run(story())
"""


async def answers(http: httpx.AsyncClient, url: str) -> bool:
    """Whether a gateway answers there."""
    try:
        await http.get(f"{url}/api/health")
    except httpx.TransportError:
        return False
    return True

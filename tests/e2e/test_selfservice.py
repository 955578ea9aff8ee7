"""A key from `request-key` works as the page says, and its successor goes on where it stood."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
import asyncpg

from tests.support.money import assert_books_balance
from tests.support.process import Client, Process, config_for
from tests.support.smtp import smtp_server
from tests.support.vendor import Vendor

GATEWAY = "https://ai.example.com"


async def test_a_new_key_works_without_an_install_id_and_a_link_resets_nothing(
    dsn: str, tmp_path: Path, vendor: Vendor, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    async with smtp_server() as server:
        mail = f"mail: {{host: 127.0.0.1, port: {server.port}, tls: none, from: gateway@example.com}}"
        gateway = Process(tmp_path / "gateway", dsn, f"{config_for(vendor.url, 'ok')}\n{mail}\n", GATEWAY_URL=GATEWAY)
        await gateway.start()
        try:
            url = f"{gateway.url}/.netlify/functions/request-key"
            async with http.post(url, json={"email": "ada@example.com"}) as response:
                assert response.status == 200
                first = await response.json()
            assert first["endpoints"]["chat"] == f"{GATEWAY}/.netlify/functions/gateway-chat"

            # Three seats, and no install id, as the page's own example sends it (decision 5).
            status, _ = await Client(http, gateway.url, first["key"]).chat()
            assert status == 200
            for device in ("a", "b", "c"):
                status, _ = await Client(http, gateway.url, first["key"], **{"x-kaixu-install-id": device}).chat()
                assert status == (403 if device == "c" else 200)
            status, _ = await Client(http, gateway.url, first["key"]).chat()
            spent = await pool.fetchval("select sum(spent_nusd) from kaixu.key_month")
            assert spent > 0

            async with http.post(url, json={"email": "ada@example.com"}) as response:
                assert (response.status, (await response.json())["code"]) == (409, "KEY_LINK_SENT")
            await server.arrived.wait()
            body = server.messages[0].get_body(("plain",))
            assert body is not None
            token = re.search(r"token=([A-Za-z0-9_-]+)", body.get_content())
            assert token is not None
            async with http.get(f"{gateway.url}/request-key/link?token={token[1]}") as response:
                assert response.status == 200
            status, _ = await Client(http, gateway.url, first["key"]).chat()
            assert status == 200  # opening the link has done nothing
            async with http.post(f"{gateway.url}/request-key/link", data={"token": token[1]}) as response:
                match = re.search(r"kx_live_[A-Za-z0-9_-]{48}", await response.text())
            assert match is not None

            status, _ = await Client(http, gateway.url, first["key"]).chat()
            assert status == 401
            status, _ = await Client(http, gateway.url, match[0]).chat()
            assert status == 200
            # One chain: its spend and its seats go on.
            rows = await pool.fetch("select chain_id, sum(spent_nusd)::bigint as spent from kaixu.key_month group by 1")
            assert len(rows) == 1
            assert rows[0]["spent"] > spent
            status, _ = await Client(http, gateway.url, match[0], **{"x-kaixu-install-id": "c"}).chat()
            assert status == 403
            await assert_books_balance(pool)
            assert token[1] not in gateway.log.read_text()
            assert match[0] not in gateway.log.read_text()
        finally:
            await gateway.stop()

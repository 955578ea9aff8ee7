"""Tokens of the gateway's older edition: `v1:iv:tag:ciphertext`."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kaixu.accounts.imports.older_secrets import import_secrets, open_older, read_rows
from kaixu.ops.sealing import Sealer, about_secret
from kaixu.plugin.errors import Invalid
from kaixu.plugin.operation import Integration
from kaixu.plugin.secret import Secret
from tests.support.money import customer

KEY = "the older edition's key"
PUSH = Integration("push", [], secrets=[Secret("token", title="Netlify token")])
SEALER = Sealer("a secret of the tests")


def sealed(value: str, key: str = KEY) -> str:
    """What the older edition stores for a token."""
    iv = os.urandom(12)
    data = AESGCM(hashlib.sha256(key.encode()).digest()).encrypt(iv, value.encode(), None)
    parts = (iv, data[-16:], data[:-16])
    return ":".join(["v1", *(base64.urlsafe_b64encode(one).decode().rstrip("=") for one in parts)])


def test_a_row_that_the_older_edition_wrote_is_opened() -> None:
    # Made with Node's crypto, as the older edition did.
    assert open_older("v1:AAECAwQFBgcICQoL:gh8_NjvPpY5VGqM89d1JNA:Nz0ZIeolmTM0", KEY) == "nfp_token"
    for value in ("t", "nfp_token", "ü" * 100):
        assert open_older(f" {sealed(value)}\n", KEY) == value


@pytest.mark.parametrize(
    "row",
    ["", "v1", "v2:a:b:c", "v1:a:b", "v1:a:b:c:d", "v1:%%%:b:c", "v1:AAAA:AAAA:AAAA", "a token", sealed("t", "other")],
    ids=[
        "empty",
        "no parts",
        "another version",
        "too few",
        "too many",
        "no base64",
        "too short",
        "plain",
        "another key",
    ],
)
def test_what_is_no_row_of_it_is_refused(row: str) -> None:
    with pytest.raises(Invalid):
        open_older(row, KEY)


@pytest.mark.parametrize("form", ["csv", "json"])
async def test_each_customer_gets_its_token_once(pool: asyncpg.Pool, form: str) -> None:
    one, two, three = [await customer(pool) for _ in range(3)]
    email = await pool.fetchval("select email from kaixu.customer where id = $1", two)
    table: list[dict[str, Any]] = [
        {"customer_id": one, "token_enc": sealed("token-one"), "token_type": "pat"},
        {"customer_id": email, "token_enc": sealed("token-two"), "token_type": ""},
        {"customer_id": 99, "token_enc": sealed("token-of-nobody"), "token_type": ""},
        {"customer_id": three, "token_enc": sealed("token-three", "other"), "token_type": ""},
    ]
    lines = ["customer_id,token_enc,token_type", *(",".join(map(str, row.values())) for row in table)]
    content = json.dumps(table) if form == "json" else "\r\n".join(lines)
    rows = read_rows(content.encode(), ["token_type"])

    async def run(**how: bool) -> list[tuple[str, str | None]]:
        done = await import_secrets(
            pool, SEALER, PUSH, "token", rows, older_key=KEY, actor="operator", request_id="r",
            **{"replace": False, "dry_run": False, **how},
        )  # fmt: skip
        return [(row.outcome, row.problem) for row in done]

    refused = [
        ("refused", "there is no customer 99"),
        ("refused", "the token was encrypted with another key"),
    ]
    assert await run(dry_run=True) == [("set", None), ("set", None), *refused]
    assert await pool.fetchval("select count(*) from kaixu.integration_secret") == 0
    assert await run() == [("set", None), ("set", None), *refused]
    stored = await pool.fetch("select customer_id, sealed, meta from kaixu.integration_secret order by customer_id")
    opened = {
        row["customer_id"]: SEALER.open(row["sealed"], about_secret("push", row["customer_id"], "token")).decode()
        for row in stored
    }
    assert opened == {one: "token-one", two: "token-two"}
    assert [row["meta"] for row in stored] == [{"token_type": "pat"}, {}]
    # A token that was set since then is not taken back.
    assert await run() == [("kept", None), ("kept", None), *refused]
    assert await run(replace=True) == [("set", None), ("set", None), *refused]


@pytest.mark.parametrize(
    "content",
    [b"\xff", b"[1]", b"{", b'{"customer_id": 1}', b'[{"customer_id": 1}]', b'[{"token": "v1:a:b:c"}]',
     b"a,b\n1,2", b'customer_id,token\n"1', b"customer_id,token\n,x", b'[{"customer_id": true, "token": "x"}]'],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_so(content: bytes) -> None:
    with pytest.raises(Invalid):
        read_rows(content)

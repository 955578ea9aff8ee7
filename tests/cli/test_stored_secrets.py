"""`kaixu secrets`: take over the older edition's tokens, and replace DB_ENCRYPTION_KEY."""

from __future__ import annotations

import json
from pathlib import Path

import asyncpg

from kaixu.ops.sealing import Sealer, about_secret
from tests.accounts.imports.test_older_secrets import KEY, sealed
from tests.support.money import customer
from tests.support.process import SECRETS

from .conftest import Piped

OTHER = "another-encryption-key-0123456789"
PLUGIN = """
from kaixu.plugin import Integration, Secret, hookimpl

@hookimpl
def register_integrations(register):
    register(Integration("push", [], secrets=[Secret("token", title="Netlify token")]))
"""


async def test_tokens_are_imported_and_encrypted_again(piped: Piped, pool: asyncpg.Pool, tmp_path: Path) -> None:
    customer_id = await customer(pool)
    (tmp_path / "push.py").write_text(PLUGIN)
    (tmp_path / "kaixu.yaml").write_text("integrations: {push: {plugin: ./push.py}}\n")
    (tmp_path / "older-key").write_text(f"{KEY}\n")
    (tmp_path / "tokens.csv").write_text(f"customer_id,token_enc\n{customer_id},{sealed('nfp_token')}\n99,v1:a:b:c\n")
    words = ("secrets", "import", "tokens.csv", "push", "token", "--key-file", "older-key")
    ran = piped(*words, "--json")
    assert (ran.returncode, json.loads(ran.stdout)["counts"]) == (1, {"set": 1, "refused": 1})
    for wrong, why in (("pull", "is not on"), ("push", "has no secret `password`")):
        refused = piped(*words[:3], wrong, "password", *words[5:])
        assert (refused.returncode, why in refused.stderr) == (1, True)
    both = {"DB_ENCRYPTION_KEY": OTHER, "DB_ENCRYPTION_KEY_OLD": SECRETS["DB_ENCRYPTION_KEY"]}
    ran = piped("secrets", "reseal", "--json", **both)
    texts = {row["texts"]: row for row in json.loads(ran.stdout)["texts"]}
    assert texts["integration_secret.sealed"] == {
        "texts": "integration_secret.sealed", "resealed": 1, "already": 0, "unreadable": 0,
    }  # fmt: skip
    stored = await pool.fetchval("select sealed from kaixu.integration_secret")
    assert Sealer(OTHER).open(stored, about_secret("push", customer_id, "token")) == b"nfp_token"
    # The key before is refused now, as it is for a gateway.
    ran = piped("secrets", "reseal")
    assert (ran.returncode, "DB_ENCRYPTION_KEY is not the one of this database" in ran.stderr) == (1, True)
    assert "nfp_token" not in ran.stdout + ran.stderr

"""What commands print is harmless to a terminal, whatever clients and vendors have sent."""

from __future__ import annotations

import json

import asyncpg
import pytest

from tests.support.calls import admit, billed
from tests.support.money import customer, virtual_key

from .conftest import Piped

#: Clears the screen, sets the window's title, begins a control sequence in one character, turns text around, breaks lines.
NASTY = "a\x1b[2J\x1b]0;owned\x07b\x9b31m\u202edlrow\u2066\r\nforged  line\x7f\u2028end"


@pytest.fixture
async def inhabited(pool: asyncpg.Pool) -> int:
    """A customer whose every text is nasty; its id."""
    from kaixu.plugin.types import Usage

    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id, label=NASTY)
    await admit(pool, key_id, install_id="one")
    await pool.execute("update kaixu.device set last_seen_agent = $1, device_label = $1", NASTY)
    await billed(pool, key_id, Usage(input_tokens=3))
    await pool.execute(
        "update kaixu.usage_event set model = $1, app_id = $1, build_id = $1, end_user = $1, install_id = $1, "
        "request_id = 'r'",
        NASTY,
    )
    await pool.execute(
        "insert into kaixu.app_month (customer_id, month, app_id, book) values ($1, date_trunc('month', now()), $2, 'ai')",
        customer_id,
        NASTY,
    )
    await pool.execute(
        "insert into kaixu.end_user_month (customer_id, month, end_user) values ($1, date_trunc('month', now()), $2)",
        customer_id,
        NASTY,
    )
    await pool.execute(
        """
        insert into kaixu.gateway_event (request_id, level, kind, method, path, customer_id, provider, model, deployment,
                                         http_status, error_code, error_message, upstream_status, upstream_body,
                                         app_id, user_agent, extra)
        select 'r', 'error', 'error', 'GET', $1::text, $2, $1, $1, $1, 502, 'UPSTREAM_ERROR', $1, 500, $1, $1, $1,
               jsonb_build_object('failed_at', now(), 'began_at', now(), 'unbilled_call', true,
                                  'vendor', jsonb_build_object('words', $1::text, 'status', 500))
        """,
        NASTY,
        customer_id,
    )
    return customer_id


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
@pytest.mark.parametrize(
    "words",
    ["trace r", "failures", "usage show {id}", "usage explain r", "devices list {id}", "keys list {id}", "top models",
     "customers list"],
)  # fmt: skip
def test_no_text_of_a_client_or_vendor_reaches_the_terminal_as_it_is(
    inhabited: int, piped: Piped, words: str, as_json: bool
) -> None:
    ran = piped(*words.format(id=inhabited).split(), *(["--json"] if as_json else []))
    assert ran.stdout, ran.stderr
    assert ran.stdout.replace("\n", "").isprintable(), repr(ran.stdout)
    if as_json:
        json.loads(ran.stdout)
    else:
        assert "\nforged" not in ran.stdout

"""The page /request-key in each mode, and the models' page: what the operator's settings make of them."""

from __future__ import annotations

import msgspec
import pytest
from quart import Quart

from kaixu.config.gateway_section import GatewaySection
from kaixu.edge.services import Services
from tests.api.admin.conftest import operator
from tests.api.selfservice.conftest import Visitor, app, mailbox, services, services_without_mail, visitor

__all__ = ["app", "mailbox", "operator", "services", "services_without_mail", "visitor"]

FORM = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}


async def send(visitor: Visitor, email: str) -> tuple[int, str]:
    """The form of the page."""
    body = f"email={email.replace('@', '%40')}".encode()
    response = await visitor.client.post("/request-key", data=body, headers=FORM)
    return response.status_code, await response.get_data(as_text=True)


@pytest.mark.parametrize(
    ("mode", "words", "status", "said"),
    [
        ("open", "A new address gets its key at once", 200, "kx_live_"),
        ("email", "Each address gets a mail with a link", 200, "Look into your mailbox"),
        ("approval", "The operator decides on each request", 200, "Your request is noted"),
        ("off", "Keys cannot be requested here", 403, "Keys cannot be requested here"),
    ],
)
async def test_each_mode_is_told_in_words(visitor: Visitor, mode: str, words: str, status: int, said: str) -> None:
    visitor.mode(mode)
    response = await visitor.client.get("/request-key")
    text = await response.get_data(as_text=True)
    assert (response.status_code, words in text) == (200, True)
    assert ('name="email"' in text) == (mode != "off")
    got, page = await send(visitor, "ada@example.com")
    assert (got, said in page) == (status, True)


async def test_what_is_no_address_is_shown_again(visitor: Visitor) -> None:
    status, text = await send(visitor, "nonsense")
    assert (status, 'value="nonsense"' in text, 'aria-invalid="true"' in text) == (400, True, True)


async def test_another_site_s_form_makes_no_key(visitor: Visitor) -> None:
    headers = FORM | {"sec-fetch-site": "cross-site"}
    response = await visitor.client.post("/request-key", data=b"email=ada%40example.com", headers=headers)
    assert response.status_code == 403


async def test_models_are_public_only_where_the_operator_says_so(app: Quart, services: Services) -> None:
    client = app.test_client()
    response = await client.get("/api/public-models")
    assert (response.status_code, (await response.get_json())["code"]) == (404, "NOT_PUBLIC")
    assert "sign in with a key" in await (await client.get("/models")).get_data(as_text=True)
    services.current.section = GatewaySection(public_prices=True)
    response = await client.get("/api/public-models")
    assert msgspec.json.decode(await response.get_data()) == {"models": []}
    assert "These are the list prices" in await (await client.get("/models")).get_data(as_text=True)

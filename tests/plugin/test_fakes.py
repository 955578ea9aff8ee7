"""The fakes of the kit and a real gateway: the same cases have the same outcome in both."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from kaixu.plugin.testing import Answer, Example, FakeWire, TrialGateway, gateway
from kaixu.plugin.testing.contract_session import session
from kaixu.plugin.testing.tables import tables_of
from kaixu.plugin.testing.wire import Reply

from .probe import CASES, PROBE, Case, Outcome, ProbeOptions

#: How the outcome of a statement that the gateway refuses begins: its own errors are none of the contract.
REFUSED = {
    "a statement that is not allowed": "begins with that word",
    "the core's tables": "see its own schema only",
    "a wrong statement": "nowhere",
}


def vendors_answer(path: str, seen: Counter[str]) -> Answer | None:
    """How the vendor answers; None: it closes the connection."""
    seen[path] += 1
    if path == "/broken":
        return None
    status = 503 if path.startswith("/then/") and seen[path] == 1 else int(path.rpartition("/")[2])
    headers = {"x-vendor": "yes", "retry-after": "7"} if status == 429 else {"x-vendor": "yes"}
    if status == 302:
        headers["location"] = "/200"
    return Answer(status, headers, [b"the vendor's words"])


@asynccontextmanager
async def vendor() -> AsyncIterator[int]:
    """A real vendor on a port."""
    seen: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.StreamResponse:
        found = vendors_answer(request.path, seen)
        if found is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=found.status, headers=dict(found.headers), body=b"".join(found.chunks))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def fake_outcome(name: str) -> str:
    """What comes of a case with fakes."""
    seen: Counter[str] = Counter()

    def respond(request: httpx.Request) -> Reply:
        return vendors_answer(request.url.path, seen) or httpx.RemoteProtocolError("the vendor hung up")

    tables = tables_of(PROBE, [PROBE.operations[0].handler.__module__])
    async with session(PROBE, ProbeOptions(), tables) as one:
        outcome = await one.run("probe.try", Example(wire=[respond]), Case(name))
    assert isinstance(outcome.result, Outcome), (name, outcome.error)
    return outcome.result.text


async def real_outcome(kaixu: TrialGateway, name: str) -> str:
    """What comes of a case in a gateway, for a customer of its own."""
    customer = await kaixu.customer()
    reply = await kaixu.call("POST", "/v1/probe/try", {"name": name}, key=customer.key)
    assert reply.status_code == 200, (name, reply.text)
    await kaixu.rows("delete from kaixu.webhook_event")
    return str(reply.json()["text"])


async def test_every_case_has_the_same_outcome_with_fakes_and_in_a_gateway() -> None:
    async with vendor() as port:
        yaml = f"""
integrations:
  probe:
    plugin: {Path(__file__).parent / "probe"}
    price: {{byte: 0.000001}}
    grants: [mail, customers]
    base_url: http://127.0.0.1:{port}
"""
        real, fake = {}, {}
        async with gateway(yaml) as kaixu:
            for name in CASES:
                real[name] = await real_outcome(kaixu, name)
        for name in CASES:
            fake[name] = (await fake_outcome(name)).replace("https://vendor.example.com", f"http://127.0.0.1:{port}")
    for name, words in REFUSED.items():
        assert words in real.pop(name)
        assert words in fake.pop(name)
    assert fake == real


def test_cases_are_compared_that_return_and_that_raise() -> None:
    outcomes = [asyncio.run(fake_outcome(name)) for name in ("200", "404")]
    assert [text.split(" ")[0] for text in outcomes] == ["returns", "raises"]


@pytest.mark.parametrize("wire", [FakeWire(Answer(200, {}, [b"x" * 10]))], ids=["fake"])
async def test_an_answer_cannot_be_read_after_the_call(wire: FakeWire) -> None:
    from kaixu.plugin import TicketClosed

    async with wire.send(httpx.Request("GET", "https://vendor.example.com")) as answer:
        wire.close()
        with pytest.raises(TicketClosed):
            await answer.aread()
    assert wire.late == 1

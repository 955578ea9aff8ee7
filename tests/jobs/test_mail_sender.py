"""The outbox sends each mail, also after failures and crashes of gateways; what it gives up, it says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from kaixu.config.mail_section import MailSection
from kaixu.jobs.mail_message import File
from kaixu.jobs.mail_sender import AT_ONCE, PAUSES_S, MailSender
from kaixu.jobs.smtp import send
from kaixu.ops.mail_content import Content, seal_content
from kaixu.ops.mail_health import MailHealth
from kaixu.ops.sealing import Sealer
from kaixu.store.mail import (
    Attachment,
    NewMail,
    claim_mails,
    enqueue_mail,
    give_up_late_mails,
    outbox_state,
    prune_mails,
    record_failed,
    retry_mail,
)
from tests.support.smtp import Mailbox, smtp_server

SEALER = Sealer("a secret of the tests")


def mail(key: str = "a", **fields: Any) -> NewMail:
    values = {"kind": "test", "recipient": "ada@example.com", "subject": "Hello", "text": "Hello."} | fields
    return NewMail(idempotency_key=key, **values)


async def an_invoice(invoice_id: int) -> File:
    return File(f"INV-{invoice_id}.pdf", "application/pdf", b"%PDF")


def sender(pool: asyncpg.Pool, section: MailSection | None, sealer: Sealer = SEALER) -> MailSender:
    return MailSender(pool, sealer, lambda: section, {"invoice": an_invoice})


async def row_of(pool: asyncpg.Pool) -> dict[str, Any]:
    row = await pool.fetchrow(
        """
        select *, extract(epoch from next_attempt_at - clock_timestamp())::float as due_in_s
          from kaixu.mail
        """
    )
    assert row is not None
    return dict(row)


async def make_due(pool: asyncpg.Pool) -> None:
    await pool.execute("update kaixu.mail set next_attempt_at = now() where state = 'waiting'")


async def test_a_mail_is_sent_once_for_its_key(pool: asyncpg.Pool) -> None:
    assert await enqueue_mail(pool, mail(attachments=[Attachment("invoice", 7)]))
    assert not await enqueue_mail(pool, mail(subject="Again"))
    async with smtp_server() as server:
        for _ in range(2):
            await sender(pool, server.section()).round()
    [message] = server.messages
    assert message["subject"] == "Hello"
    assert [one.get_filename() for one in message.iter_attachments()] == ["INV-7.pdf"]
    row = await row_of(pool)
    assert (row["state"], row["attempts"], row["last_error"], row["body_text"]) == ("sent", 1, None, None)


async def test_several_gateways_send_each_mail_once(pool: asyncpg.Pool) -> None:
    for number in range(AT_ONCE * 4):
        await enqueue_mail(pool, mail(str(number), subject=f"mail {number}"))
    async with smtp_server() as server:
        senders = [sender(pool, server.section()) for _ in range(3)]
        for _ in range(4):
            await asyncio.gather(*(one.round() for one in senders))
    assert sorted(str(one["subject"]) for one in server.messages) == sorted(
        f"mail {number}" for number in range(AT_ONCE * 4)
    )


async def test_a_mail_that_rolls_back_is_not_sent(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await enqueue_mail(connection, mail())
        await transaction.rollback()
    async with smtp_server() as server:
        await sender(pool, server.section()).round()
    assert server.messages == []


async def test_a_failed_mail_is_tried_again_with_growing_pauses_and_then_given_up(pool: asyncpg.Pool) -> None:
    await enqueue_mail(pool, mail())
    async with smtp_server() as server:
        server.replies["RCPT"] = ["450 4.2.1 busy"] * (len(PAUSES_S) + 1)
        for pause_s in PAUSES_S:
            await sender(pool, server.section()).round()
            row = await row_of(pool)
            assert pause_s - 30 < row["due_in_s"] <= pause_s
            assert row["last_error"] == "the server refused the recipient (450 4.2.1)"
            await make_due(pool)
        await sender(pool, server.section()).round()
        row = await row_of(pool)
        assert (row["state"], row["next_attempt_at"]) == ("failed", None)
        assert (await outbox_state(pool)).failed == 1
        assert await retry_mail(pool, row["id"])
        await sender(pool, server.section()).round()
    assert len(server.messages) == 1


async def test_a_final_refusal_is_not_tried_again(pool: asyncpg.Pool) -> None:
    await enqueue_mail(pool, mail())
    async with smtp_server() as server:
        server.replies["RCPT"] = ["550 5.1.1 nobody"]
        await sender(pool, server.section()).round()
    row = await row_of(pool)
    assert (row["state"], row["attempts"]) == ("failed", 1)


async def test_a_mail_whose_gateway_died_is_sent_again_with_the_same_message_id(pool: asyncpg.Pool) -> None:
    await enqueue_mail(pool, mail())
    async with smtp_server() as server:
        for _ in range(2):  # a gateway claims and sends, and dies before its record; then another one
            [due] = await claim_mails(pool, lease_s=60, most=5)
            dying = sender(pool, server.section())
            await send(server.section(), await dying.message(server.section(), due))
            assert await claim_mails(pool, lease_s=60, most=5) == []
            await make_due(pool)
    first, second = server.messages
    assert first["message-id"] == second["message-id"]
    assert first["date"] == second["date"]


async def test_an_attempt_whose_lease_ran_out_changes_nothing(pool: asyncpg.Pool) -> None:
    await enqueue_mail(pool, mail())
    [late] = await claim_mails(pool, lease_s=60, most=5)
    await make_due(pool)
    await claim_mails(pool, lease_s=60, most=5)
    await record_failed(pool, late, error="late", retry_in_s=None)
    assert (await row_of(pool))["state"] == "waiting"


async def test_mails_wait_for_settings(pool: asyncpg.Pool) -> None:
    await enqueue_mail(pool, mail())
    await sender(pool, None).round()
    row = await row_of(pool)
    assert (row["state"], row["attempts"]) == ("waiting", 0)


async def test_a_sealed_mail_is_readable_by_its_recipient_only(pool: asyncpg.Pool) -> None:
    one = mail(text=None)
    content = Content("the secret link", "<p>the secret link</p>")
    one = NewMail(
        idempotency_key="s",
        kind="test",
        recipient="ada@example.com",
        subject="Hello",
        id=one.id,
        sealed=seal_content(SEALER, one.id, content),
    )
    await enqueue_mail(pool, one)
    assert "secret" not in str(await row_of(pool))
    async with smtp_server() as server:
        await sender(pool, server.section()).round()
    [message] = server.messages
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().strip() == "the secret link"
    assert (await row_of(pool))["sealed"] is None


async def test_a_mail_sealed_with_another_secret_is_given_up(pool: asyncpg.Pool) -> None:
    one = mail()
    await enqueue_mail(
        pool,
        NewMail("s", "test", "ada@example.com", "Hello", id=one.id, sealed=seal_content(SEALER, one.id, Content("x"))),
    )
    async with smtp_server() as server:
        await sender(pool, server.section(), Sealer("another secret, longer")).round()
    assert (await row_of(pool))["last_error"] == "it was encrypted with another DB_ENCRYPTION_KEY"


async def test_a_mail_that_is_of_no_use_any_more_is_not_sent(pool: asyncpg.Pool) -> None:
    await enqueue_mail(pool, mail(send_before=datetime.now(UTC) - timedelta(seconds=1)))
    await give_up_late_mails(pool)
    row = await row_of(pool)
    assert (row["state"], row["last_error"]) == ("failed", "not sent in time")
    assert not await retry_mail(pool, row["id"])


@pytest.mark.parametrize(
    "fields",
    [
        {"recipient": "ada@example.com\r\nBcc: eve@example.com"},
        {"recipient": "ada@example.com, eve@example.com"},
        {"attachments": [Attachment("unknown", 1)]},
    ],
    ids=["injected", "list", "attachment"],
)
async def test_a_mail_that_cannot_be_written_ends_without_harm_to_others(
    pool: asyncpg.Pool, fields: dict[str, Any]
) -> None:
    await enqueue_mail(pool, mail("bad", **fields))
    await enqueue_mail(pool, mail("good"))
    async with smtp_server() as server:
        await sender(pool, server.section()).round()
    assert server.recipients == ["ada@example.com"]
    assert await pool.fetchval("select state from kaixu.mail where idempotency_key = 'bad'") == "failed"


async def test_line_breaks_of_a_subject_become_spaces(pool: asyncpg.Pool) -> None:
    await enqueue_mail(pool, mail(subject="Hello\r\nBcc: eve@example.com" + "x" * 300))
    async with smtp_server() as server:
        await sender(pool, server.section()).round()
    [message] = server.messages
    assert message["bcc"] is None
    assert str(message["subject"]).startswith("Hello Bcc: eve@example.com")
    assert server.recipients == ["ada@example.com"]


async def test_a_clock_that_was_set_back_delays_no_mail(pool: asyncpg.Pool) -> None:
    await enqueue_mail(pool, mail())
    await pool.execute("update kaixu.mail set created_at = now() + interval '1 day', next_attempt_at = created_at")
    await pool.execute("update kaixu.mail set next_attempt_at = now() + interval '1 day'")
    assert len(await claim_mails(pool, lease_s=60, most=5)) == 1


async def test_old_mails_are_removed(pool: asyncpg.Pool) -> None:
    await enqueue_mail(pool, mail("old"))
    await pool.execute("update kaixu.mail set created_at = now() - interval '31 days'")
    await enqueue_mail(pool, mail("new"))
    assert await prune_mails(pool, days=30) == 1


async def test_the_server_is_away_and_comes_back(pool: asyncpg.Pool) -> None:
    await enqueue_mail(pool, mail())
    gone = MailSection.model_validate({"host": "127.0.0.1", "port": 9, "tls": "none", "from": "a@example.com"})
    await sender(pool, gone).round()
    row = await row_of(pool)
    assert row["last_error"] == "no connection to 127.0.0.1, port 9: nothing listens there"
    await make_due(pool)
    async with smtp_server() as server:
        await sender(pool, server.section()).round()
        mailbox: Mailbox = server
    assert len(mailbox.messages) == 1


async def test_one_round_sends_all_that_is_due_and_what_is_urgent_first(pool: asyncpg.Pool) -> None:
    for number in range(AT_ONCE * 2):
        await enqueue_mail(pool, mail(str(number), subject="an invoice"))
    await enqueue_mail(pool, mail("link", subject="a link", send_before=datetime.now(UTC) + timedelta(minutes=30)))
    async with smtp_server() as server:
        await sender(pool, server.section()).round()
    subjects = [str(one["subject"]) for one in server.messages]
    assert len(subjects) == AT_ONCE * 2 + 1
    assert "a link" in subjects[:AT_ONCE]


async def test_a_gateway_that_stops_records_what_it_is_sending(pool: asyncpg.Pool) -> None:
    await enqueue_mail(pool, mail())
    async with smtp_server() as server:
        began, go_on = asyncio.Event(), asyncio.Event()
        handle = server.handle_DATA

        async def slow(*arguments: Any) -> str:
            began.set()
            await go_on.wait()
            return await handle(*arguments)

        server.handle_DATA = slow  # type: ignore[method-assign, assignment]
        task = asyncio.ensure_future(sender(pool, server.section()).round())
        await began.wait()
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await row_of(pool))["state"] == "sent"


async def test_health_knows_whether_the_server_takes_mails(pool: asyncpg.Pool) -> None:
    health = MailHealth()
    await enqueue_mail(pool, mail())
    gone = MailSection.model_validate({"host": "127.0.0.1", "port": 9, "tls": "none", "from": "a@example.com"})
    await MailSender(pool, SEALER, lambda: gone, {}, health).round()
    assert health.failure == "no connection to 127.0.0.1, port 9: nothing listens there"
    await make_due(pool)
    async with smtp_server() as server:
        server.replies["RCPT"] = ["550 5.1.1 nobody"]
        await MailSender(pool, SEALER, server.section, {}, health).round()
        await enqueue_mail(pool, mail("b"))
        await MailSender(pool, SEALER, server.section, {}, health).round()
    assert health.failure is None

"""Mails are handed over as the settings say; what fails is said in words, and never twice or in the clear."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

import pytest

from kaixu.config.mail_section import MailSection
from kaixu.jobs.mail_message import BadMail, File, mail_message
from kaixu.jobs.smtp import NotSent, send
from kaixu.ops.mail_content import Content
from tests.support.smtp import PASSWORD, USER, scripted_server, smtp_server, write_certificate

ID = UUID("0190f8a1-7e55-7c3e-a9a2-3f5d2f6d8b10")
AT = datetime(2026, 11, 29, 8, 30, tzinfo=UTC)


def message_for(
    section: MailSection, recipient: str = "ada@example.com", subject: str = "Hello", *files: File
) -> EmailMessage:
    content = Content("Grüße\n.\nEnd", "<p>Grüße</p>")
    return mail_message(
        section, mail_id=ID, recipient=recipient, subject=subject, content=content, files=files, created_at=AT
    )


async def test_a_mail_arrives_with_its_parts_and_its_attachment() -> None:
    async with smtp_server() as server:
        section = server.section(reply_to="help@example.com")
        pdf = File("INV-1.pdf", "application/pdf", b"%PDF\r\n.\r\n\xff")
        await send(section, message_for(section, "ada@example.com", "Rechnung für November", pdf))
    [message] = server.messages
    assert server.recipients == ["ada@example.com"]
    assert {name: message[name] for name in ("from", "to", "reply-to", "subject", "message-id", "auto-submitted")} == {
        "from": "Example <gateway@example.com>",
        "to": "ada@example.com",
        "reply-to": "help@example.com",
        "subject": "Rechnung für November",
        "message-id": f"<{ID}@example.com>",
        "auto-submitted": "auto-generated",
    }
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert text.get_content().split() == ["Grüße", ".", "End"]
    assert html is not None
    assert html.get_content().strip() == "<p>Grüße</p>"
    [attached] = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("INV-1.pdf", "application/pdf")
    assert attached.get_payload(decode=True) == pdf.data


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
async def test_a_mail_goes_encrypted_with_a_login(tmp_path: Path, implicit: bool) -> None:
    certificate, authority = write_certificate(tmp_path, "127.0.0.1")
    async with smtp_server(certificate=certificate, implicit=implicit, login=True) as server:
        tls = "implicit" if implicit else "starttls"
        section = server.section(tls=tls, user=USER, password=PASSWORD, ca_file=str(authority))
        await send(section, message_for(section))
    assert len(server.messages) == 1


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    certificate, authority = write_certificate(tmp_path, "other.example.com")
    async with smtp_server(certificate=certificate) as server:
        section = server.section(tls="starttls", user=USER, password=PASSWORD, ca_file=str(authority))
        with pytest.raises(NotSent, match="certificate is not valid for this name"):
            await send(section, message_for(section))
    assert server.messages == []


async def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    certificate, _ = write_certificate(tmp_path, "127.0.0.1")
    async with smtp_server(certificate=certificate, implicit=True) as server:
        section = server.section(tls="implicit")
        with pytest.raises(NotSent, match=r"set `mail\.ca_file`"):
            await send(section, message_for(section))


async def test_nothing_is_sent_in_the_clear_where_encryption_is_wanted() -> None:
    async with smtp_server() as server:
        section = server.section(tls="starttls")
        with pytest.raises(NotSent, match="does not offer STARTTLS"):
            await send(section, message_for(section))
    assert server.messages == []


async def test_implicit_encryption_at_a_port_without_it_is_named() -> None:
    async with smtp_server() as server:
        section = server.section(tls="implicit", timeout_s=5)
        with pytest.raises(NotSent, match="does not speak TLS here"):
            await send(section, message_for(section))


async def test_a_wrong_password_is_named_but_not_shown(tmp_path: Path) -> None:
    certificate, authority = write_certificate(tmp_path, "127.0.0.1")
    async with smtp_server(certificate=certificate, login=True) as server:
        section = server.section(tls="starttls", user="other", password=PASSWORD, ca_file=str(authority))
        with pytest.raises(NotSent, match=r"the login failed \(535 5\.7\.8\)") as caught:
            await send(section, message_for(section))
    assert not caught.value.is_final
    assert caught.value.words is not None
    assert PASSWORD not in caught.value.words


@pytest.mark.parametrize(
    ("command", "reply", "says", "final"),
    [
        ("MAIL", "451 4.3.0 later", r"refused the sender \(451 4\.3\.0\)", False),
        ("MAIL", "550 5.7.1 not you", r"refused the sender \(550 5\.7\.1\)", False),
        ("RCPT", "450 4.2.1 busy", r"refused the recipient \(450 4\.2\.1\)", False),
        ("RCPT", "550 5.1.1 nobody", r"refused the recipient \(550 5\.1\.1\)", True),
        ("DATA", "452 4.3.1 full", r"refused the message \(452 4\.3\.1\)", False),
        ("DATA", "554 spam", r"refused the message \(554\)", True),
    ],
    ids=lambda value: str(value)[:12],
)
async def test_a_refusal_says_what_was_refused_and_whether_it_is_final(
    command: str, reply: str, says: str, final: bool
) -> None:
    async with smtp_server() as server:
        server.replies[command] = [reply]
        section = server.section()
        with pytest.raises(NotSent, match=says) as caught:
            await send(section, message_for(section))
    assert caught.value.is_final is final
    assert server.messages == []


async def test_a_server_that_hangs_is_given_up_in_time() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(600)

    async with scripted_server(hang) as port:
        section = MailSection.model_validate(
            {"host": "127.0.0.1", "port": port, "tls": "none", "from": "a@example.com", "timeout_s": 1}
        )
        with pytest.raises(NotSent, match="did not answer in 1 s"):
            await send(section, message_for(section))


async def test_a_server_that_talks_without_end_is_given_up_in_time() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"220-still here\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with scripted_server(talk) as port:
        section = MailSection.model_validate(
            {"host": "127.0.0.1", "port": port, "tls": "none", "from": "a@example.com", "timeout_s": 1}
        )
        with pytest.raises(NotSent, match="did not answer in 1 s"):
            await send(section, message_for(section))


@pytest.mark.parametrize("greeting", [b"", b"220 hello\r\n", b"\xff\x00nonsense\r\n"], ids=["none", "good", "nonsense"])
async def test_a_server_that_drops_the_connection_is_not_an_accident(greeting: bytes) -> None:
    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()

    async with scripted_server(drop) as port:
        section = MailSection.model_validate(
            {"host": "127.0.0.1", "port": port, "tls": "none", "from": "a@example.com", "timeout_s": 5}
        )
        with pytest.raises(NotSent) as caught:
            await send(section, message_for(section))
    assert not caught.value.is_final


async def test_a_server_that_takes_nobody_now_may_later() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 5.3.2 closed\r\n")
        await writer.drain()
        await reader.read()

    async with scripted_server(refuse) as port:
        section = MailSection.model_validate(
            {"host": "127.0.0.1", "port": port, "tls": "none", "from": "a@example.com", "timeout_s": 5}
        )
        with pytest.raises(NotSent, match=r"accepts no mail from here now \(554 5\.3\.2\)") as caught:
            await send(section, message_for(section))
    assert not caught.value.is_final


async def test_a_server_that_hangs_after_it_took_the_mail_has_taken_it() -> None:
    async with smtp_server() as server:
        section = server.section(timeout_s=5)

        async def handle_QUIT(*arguments: object) -> str:
            await asyncio.sleep(600)
            return "221 bye"

        server.handle_QUIT = handle_QUIT  # type: ignore[attr-defined]
        await send(section, message_for(section))
    assert len(server.messages) == 1


async def test_nothing_listens() -> None:
    section = MailSection.model_validate({"host": "127.0.0.1", "port": 9, "tls": "none", "from": "a@example.com"})
    with pytest.raises(NotSent, match="nothing listens there"):
        await send(section, message_for(section))


async def test_an_address_beyond_ascii_needs_a_server_that_takes_it() -> None:
    async with smtp_server() as server:
        section = server.section()
        await send(section, message_for(section, "jürgen@example.com"))
        assert server.recipients == ["jürgen@example.com"]
    async with smtp_server(utf8=False) as server:
        section = server.section()
        with pytest.raises(NotSent, match="beyond ASCII"):
            await send(section, message_for(section, "jürgen@example.com"))


@pytest.mark.parametrize(
    ("recipient", "subject"),
    [
        ("ada@example.com\r\nBcc: eve@example.com", "Hello"),
        ("ada@example.com, eve@example.com", "Hello"),
        ("ada@example.com\n", "Hello"),
        ("<ada@example.com>", "Hello"),
        ("ada", "Hello"),
        ("", "Hello"),
        ("ada@example.com", "Hello\r\nBcc: eve@example.com"),
        ("ada@example.com", "Hello\nX: 1"),
        ("ada@example.com", "Hello\rX: 1"),
    ],
)
def test_no_header_can_be_put_in_by_a_recipient_or_a_subject(recipient: str, subject: str) -> None:
    section = MailSection.model_validate({"host": "mail.example.com", "from": "a@example.com"})
    with pytest.raises(BadMail):
        message_for(section, recipient, subject)

"""Hand one mail to the SMTP server, and say in plain words what failed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from email.message import EmailMessage

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from kaixu.config.mail_section import MailSection

#: An enhanced status code at the start of a reply (RFC 3463), as 5.7.1.
ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")

CERTIFICATE = (
    "the server's certificate is not valid for this name, or not from a known authority: check `mail.host`; "
    "for an authority of your own set `mail.ca_file`"
)

#: How far the causes of an error are followed.
MAX_CAUSES = 10

#: How long the end of a conversation may take, after the server has taken the message.
GOODBYE_S = 2.0

#: The longest part of a server's own words that is shown.
MAX_WORDS = 200


class NotSent(Exception):
    """A mail was not sent. The message says what failed in our own words, with the server's code but not its text.

    `is_final`: another attempt would fail, too. `words`: what the server said, for the operator's eyes only.
    """

    def __init__(self, message: str, *, is_final: bool = False, words: str | None = None) -> None:
        super().__init__(message)
        self.is_final = is_final
        self.words = words


async def send(section: MailSection, message: EmailMessage) -> None:
    """Send a message. Raises `NotSent`; never takes much longer than `section.timeout_s`.

    The message may have arrived all the same if the server was silent at the very end.
    """
    where = f"{section.host}, port {section.server_port}"
    context = await asyncio.to_thread(tls_context, section)
    client = SMTP(
        hostname=section.host,
        port=section.server_port,
        timeout=section.timeout_s,
        use_tls=section.tls == "implicit",
        start_tls=False,
        tls_context=context if section.tls != "none" else None,
        # The name of this machine is nobody's business, and looking it up may take seconds.
        local_hostname=section.sender_address.rpartition("@")[2],
    )
    try:
        async with asyncio.timeout(section.timeout_s):
            await converse(client, section, message, context)
        # The server has the message: what goes wrong from here on must not have it sent again.
        with contextlib.suppress(SMTPException, OSError):
            async with asyncio.timeout(GOODBYE_S):
                await client.quit()
    except SMTPResponseException as error:
        raise refusal(error, section) from None
    except SMTPRecipientsRefused as error:
        raise refusal(error.recipients[0], section) from None
    except SMTPNotSupported:
        raise NotSent("the server does not offer what this needs: a login, or addresses beyond ASCII") from None
    except (TimeoutError, SMTPTimeoutError):
        raise NotSent(f"{where} did not answer in {section.timeout_s:g} s") from None
    except SMTPServerDisconnected as error:
        raise NotSent(connection_problem(error, f"{where} closed the connection")) from None
    except (SMTPConnectError, OSError) as error:
        raise NotSent(connection_problem(error, f"no connection to {where}")) from None
    except (SMTPException, ValueError) as error:
        raise NotSent(f"the conversation with {where} failed: {type(error).__name__}") from None
    finally:
        client.close()


async def converse(client: SMTP, section: MailSection, message: EmailMessage, context: ssl.SSLContext) -> None:
    """Connect, log in, hand over the message."""
    await client.connect()
    if section.tls == "starttls":
        await client.ehlo()
        if not client.supports_extension("starttls"):
            raise NotSent(
                f"{section.host} does not offer STARTTLS on port {section.server_port}: nothing is sent "
                "unencrypted; try `tls: implicit` with port 465"
            )
        await client.starttls(tls_context=context)
    if section.user is not None and section.password is not None:
        await client.login(section.user, section.password.get_secret_value())
    await client.send_message(message)


def tls_context(section: MailSection) -> ssl.SSLContext:
    """Certificates are always checked. Raises `NotSent` for an unusable `ca_file`."""
    try:
        return ssl.create_default_context(cafile=section.ca_file)
    except OSError:
        raise NotSent("`mail.ca_file` cannot be read, or holds no certificate") from None


def refusal(error: SMTPResponseException, section: MailSection) -> NotSent:
    """What a server's negative reply means. Codes from 500 on are final if they are about this mail alone."""
    said = error.message if isinstance(error.message, str) else ""
    match = ENHANCED.match(said.strip())
    code = f"{error.code} {match[0]}" if match else f"{error.code}"
    words = cleaned(said, section)
    is_final = error.code >= 500
    match error:
        case SMTPRecipientRefused():
            return NotSent(f"the server refused the recipient ({code})", is_final=is_final, words=words)
        case SMTPDataError():
            return NotSent(f"the server refused the message ({code})", is_final=is_final, words=words)
        case SMTPSenderRefused():
            what = f"the server refused the sender ({code}): check `mail.from`, and whether a login is needed"
        case SMTPAuthenticationError():
            what = f"the login failed ({code}): check `mail.user` and `mail.password`"
        case SMTPHeloError() | SMTPConnectError():
            what = f"the server accepts no mail from here now ({code})"
        case _:
            what = f"the server refused ({code})"
    return NotSent(what, words=words)


def connection_problem(error: Exception, otherwise: str) -> str:
    """Why there is no connection."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        match cause:
            case None:
                break
            case ssl.SSLCertVerificationError():
                return CERTIFICATE
            case ssl.SSLError():
                return "the server does not speak TLS here: try `tls: starttls` with port 587"
            case socket.gaierror():
                return "the server's name has no address: check `mail.host`"
            case ConnectionRefusedError():
                return f"{otherwise}: nothing listens there"
        cause = cause.__cause__ or cause.__context__
    return otherwise


def cleaned(text: str, section: MailSection) -> str | None:
    """A server's words, fit to be shown: printable, short, without the password."""
    if section.password is not None:
        text = text.replace(section.password.get_secret_value(), "…")
    text = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(text.split())[:MAX_WORDS] or None

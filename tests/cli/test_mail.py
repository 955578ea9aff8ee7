"""`kaixu mail …` and `kaixu requests …`, with a real mail server."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import asyncpg
import pytest

from kaixu.accounts.addresses import read_address
from kaixu.accounts.selfservice import Selfservice, request_key
from kaixu.config.environment import Secrets, Settings
from kaixu.config.mail_section import MailSection
from kaixu.config.selfservice_section import SelfserviceSection
from kaixu.plugin.errors import Conflict
from kaixu.store.mail import NewMail, enqueue_mail
from tests.support.process import SECRETS
from tests.support.smtp import smtp_server

from .conftest import Piped

CONFIG = """
lanes: {{}}
mail: {{host: 127.0.0.1, port: {port}, tls: none, from: gateway@example.com, timeout_s: 5}}
selfservice: {{mode: approval}}
"""


async def run(piped: Piped, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(piped, *words, **environment)


def configure(folder: Path, text: str) -> None:
    (folder / "kaixu.yaml").write_text(text)


async def test_a_test_mail_arrives_or_says_what_failed(piped: Piped, tmp_path: Path) -> None:
    async with smtp_server() as server:
        configure(tmp_path, CONFIG.format(port=server.port))
        sent = await run(piped, "mail", "test", "ada@example.com")
        assert sent.returncode == 0, sent.stderr
        assert "has taken the mail to ada@example.com" in sent.stdout
        assert server.messages[0]["subject"] == "Test mail of the kAIxU Gateway"
        as_json = json.loads((await run(piped, "mail", "test", "ada@example.com", "--json")).stdout)
        assert as_json["ok"] is True
        server.replies["RCPT"] = ["550 5.1.1 no such user here"]
        refused = await run(piped, "mail", "test", "nobody@example.com")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "the server refused the recipient (550 5.1.1)" in refused.stderr
        assert "no such user here" in refused.stderr
    nobody = await run(piped, "mail", "test", "ada@example.com")
    assert "nothing listens there" in nobody.stderr
    for wrong in ("ada", "ada@example.com\r\nBcc: eve@example.com", ""):
        failed = await run(piped, "mail", "test", wrong)
        assert failed.returncode == 1
        assert "Traceback" not in failed.stderr


async def test_without_settings_it_says_so(piped: Piped, tmp_path: Path) -> None:
    configure(tmp_path, "lanes: {}\n")
    failed = await run(piped, "mail", "test", "ada@example.com")
    assert (failed.returncode, "has no section `mail:`" in failed.stderr) == (1, True)


async def test_the_outbox_is_listed_and_a_mail_is_tried_again(piped: Piped, tmp_path: Path, pool: asyncpg.Pool) -> None:
    configure(tmp_path, "lanes: {}\n")
    mail = NewMail("k", "test", "ada@example.com", "Hello", text="secret text")
    await enqueue_mail(pool, mail)
    await pool.execute("update kaixu.mail set state = 'failed', next_attempt_at = null, last_error = 'no'")
    listed = await run(piped, "mail", "list", "--state", "failed", "--json")
    [row] = json.loads(listed.stdout)
    assert (row["id"], row["recipient"], row["last_error"]) == (str(mail.id), "ada@example.com", "no")
    assert "secret text" not in listed.stdout
    assert (await run(piped, "mail", "retry", str(mail.id))).returncode == 0
    assert await pool.fetchval("select state from kaixu.mail") == "waiting"
    again = await run(piped, "mail", "retry", str(mail.id))
    assert (again.returncode, "cannot be tried again" in again.stderr) == (1, True)
    assert (await run(piped, "mail", "retry", "x")).returncode == 1
    assert (await run(piped, "mail", "list", "--state", "lost")).returncode == 1


async def test_an_operator_approves_and_denies(piped: Piped, tmp_path: Path, pool: asyncpg.Pool) -> None:
    configure(tmp_path, CONFIG.format(port=9))
    mail = MailSection.model_validate({"host": "127.0.0.1", "from": "gateway@example.com"})
    keys = Secrets(
        admin_password=SECRETS["ADMIN_PASSWORD"],
        jwt_secret=SECRETS["JWT_SECRET"],
        key_pepper=SECRETS["KEY_PEPPER"],
        db_encryption_key=SECRETS["DB_ENCRYPTION_KEY"],
    )
    rules = Selfservice(SelfserviceSection(mode="approval"), mail, Settings(gateway_url="https://ai.example.com"), keys)
    for email in ("ada@example.com", "bob@example.com"):
        with pytest.raises(Conflict):
            await request_key(pool, rules, read_address(email, "email"), client="192.0.2.1", request_id="r")
    held = json.loads((await run(piped, "requests", "list", "--state", "held", "--json")).stdout)
    numbers = {row["address"]: row["id"] for row in held}
    refused = await run(piped, "requests", "approve", numbers["ada@example.com"])
    assert (refused.returncode, "cannot send mails" in refused.stderr) == (1, True)  # GATEWAY_URL is missing
    gateway = {"GATEWAY_URL": "https://ai.example.com"}
    approved = await run(piped, "requests", "approve", numbers["ada@example.com"], **gateway)
    assert (approved.returncode, "a link goes to ada@example.com" in approved.stdout) == (0, True), approved.stderr
    assert (await run(piped, "requests", "deny", numbers["bob@example.com"], **gateway)).returncode == 0
    assert (await run(piped, "requests", "deny", numbers["bob@example.com"], **gateway)).returncode == 1
    rows = await pool.fetch("select address, state from kaixu.key_request order by address")
    assert [tuple(row) for row in rows] == [("ada@example.com", "link"), ("bob@example.com", "denied")]
    assert await pool.fetchval("select array_agg(recipient) from kaixu.mail") == ["ada@example.com"]

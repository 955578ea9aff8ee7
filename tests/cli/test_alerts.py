"""`kaixu alerts`: what was raised, receivers that can be reached, customers' webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import asyncpg
import pytest

from kaixu.store.alerts import Delivery, queue_deliveries, raise_alert
from tests.support.money import customer

from .conftest import CONFIG, Piped

BODY = {"month": "2026-11", "cap_nusd": 20 * 10**9, "spent_nusd": 17 * 10**9, "pct": 85, "threshold_pct": 85}


@pytest.fixture
def receiver() -> Iterator[str]:
    """A webhook that takes everything but /broken."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(500 if self.path == "/broken" else 204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_alerts_are_listed_with_the_receivers_that_do_not_have_them(pool: asyncpg.Pool, piped: Piped) -> None:
    customer_id = await customer(pool)
    await raise_alert(pool, "CAP_WARN_CUSTOMER", BODY, customer_id=customer_id)
    await raise_alert(pool, "VENDOR_DOWN", {"provider": "up", "upstream": "gpt", "reason": None})
    await queue_deliveries(pool, [Delivery("alerts:ops", "CAP_WARN_CUSTOMER", b"{}", 1, None)])
    newest, oldest = json.loads(piped("alerts", "list", "--json").stdout)
    assert (newest["type"], oldest["type"]) == ("VENDOR_DOWN", "CAP_WARN_CUSTOMER")
    shown = piped("alerts", "list", "--customer", "customer0@example.com").stdout
    assert "Customer 1 has used 85 % of its monthly cap" in shown
    assert "alerts:ops (waiting)" in shown
    assert "VENDOR_DOWN" not in shown
    wrong = piped("alerts", "list", "--type", "NONSENSE")
    assert wrong.returncode == 1
    assert "not a type of alert" in wrong.stderr


def test_a_test_says_what_failed_and_ends_with_an_error(piped: Piped, tmp_path: Path, receiver: str) -> None:
    nobody = piped("alerts", "test")
    assert (nobody.returncode, "nobody gets alerts" in nobody.stderr) == (1, True)
    assert piped("alerts", "test", ALERT_WEBHOOK_URL=receiver).returncode == 0
    (tmp_path / "kaixu.yaml").write_text(CONFIG + f"alerts: {{webhooks: {{ops: {{url: '{receiver}/broken'}}}}}}\n")
    done = piped("alerts", "test", "--json", ALERT_WEBHOOK_URL=receiver)
    assert done.returncode == 1
    assert json.loads(done.stdout) == [
        {"receiver": "alerts", "error": None},
        {"receiver": "alerts:ops", "error": "it answered 500"},
    ]


async def test_a_customers_webhook_is_set_shown_and_removed(pool: asyncpg.Pool, piped: Piped) -> None:
    await customer(pool)
    words = ("alerts", "webhook", "customer0@example.com")
    made = json.loads(piped(*words, "https://hooks.example.com/secret", "--json").stdout)
    assert (made["url"], made["secret"][:6]) == ("https://hooks.example.com/…", "whsec_")
    assert json.loads(piped(*words, "--json").stdout) == {"customer_id": 1, "url": "https://hooks.example.com/…"}
    assert json.loads(piped(*words, "none", "--json").stdout) == {"customer_id": 1, "url": None}
    refused = piped(*words, "http://hooks.example.com/")
    assert refused.returncode == 1
    assert "must be a URL with https" in refused.stderr


async def test_thresholds_and_mail_are_options_of_customers(pool: asyncpg.Pool, piped: Piped) -> None:
    await customer(pool)
    words = ("customers", "change", "customer0@example.com", "--json")
    made = json.loads(piped(*words, "--alert-thresholds", "90,60", "--alert-mail", "yes").stdout)
    assert (made["alert_thresholds"], made["alert_mail"]) == ([60, 90], True)
    made = json.loads(piped(*words, "--alert-thresholds", "none", "--alert-mail", "none").stdout)
    assert (made["alert_thresholds"], made["alert_mail"]) == (None, None)
    wrong = piped(*words, "--alert-thresholds", "200")
    assert "`--alert-thresholds` must lie between 1 and 100" in wrong.stderr
    assert "yes, no or none" in piped(*words, "--alert-mail", "maybe").stderr


async def test_the_doctor_tells_of_receivers_that_fail_and_alerts_that_wait(pool: asyncpg.Pool, piped: Piped) -> None:
    def found() -> str:
        lines = piped("doctor").stdout.splitlines()
        return next(line for line in lines if line.split()[:1] == ["alerts"] or " alerts " in f"{line} ")

    assert "all receivers work" in found()
    await pool.execute("insert into kaixu.receiver_failure values ('alerts:ops', null, 4, now(), now())")
    assert "webhooks fail: alerts:ops" in found()
    await raise_alert(pool, "VENDOR_BACK", {})
    await pool.execute("update kaixu.alert set created_at = now() - interval '1 hour'")
    assert "1 wait for 36" in found()

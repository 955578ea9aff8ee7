"""The tab of integration: its programs run as they are, with the models that the customer may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.aimock import MODULES, NODE
from tests.support.curl import install

from .conftest import Visit
from .gateway import Gateway

CHAT, EMBED = "openai/gpt-4o-mini", "openai/text-embedding-3-small"


@pytest.fixture
def programs(visit: Visit, gateway: Gateway) -> tuple[str, list[tuple[str, str, str]]]:
    """A new customer's key, and the programs that its page shows: group, title, and text."""
    body = {"email": f"integration-{os.getpid()}-{os.urandom(4).hex()}@example.com", "allowed_providers": ["openai"]}
    customer = gateway.ask("POST", "admin-customers", body)["customer"]
    key = gateway.ask("POST", "admin-keys", {"customer_id": customer["id"]})["api_key"]["key"]
    operator = visit(gateway, "operator", scripts=False)
    operator.go(f"/gateway/integration?customer_id={customer['id']}&chat={CHAT}&embed={EMBED}")
    assert key not in operator.page.content()
    assert "anthropic/" not in operator.main.inner_text()  # what it may not use is not offered
    found = []
    for card in operator.page.locator("details.card").all():
        group = card.locator("summary h2").text_content() or ""
        for snippet in card.locator("figure.snippet").all():
            title = (snippet.locator("figcaption > span").first.text_content() or "").strip()
            found.append((group, title, snippet.locator("code").text_content() or ""))
    return key, found


def output(command: list[str], text: str, key: str, folder: Path, *, cwd: Path | None = None) -> str:
    """What a program prints that is read from standard input."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], str(install(folder / "bin"))])
    environment = {"PATH": path, "HOME": str(folder), "KAIXU_KEY": key, "NO_PROXY": "*"}
    done = subprocess.run(
        command, input=text, cwd=cwd or folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_program_on_the_page_runs(programs: tuple[str, list[tuple[str, str, str]]], tmp_path: Path) -> None:
    key, found = programs
    groups = [group for group, _, _ in found]
    assert {"curl", "Python", "JavaScript", "OpenAI's SDKs", "Anthropic's SDKs"} <= set(groups)
    printed: dict[tuple[str, str], str] = {}
    for group, title, text in found:
        if group == "curl":
            printed[group, title] = output(["bash", "-eu"], text, key, tmp_path)
            assert '"code"' not in printed[group, title], printed[group, title]
        elif "from " in text.splitlines()[0] or text.startswith("const "):
            output([str(NODE), "--input-type=module"], text, key, tmp_path, cwd=MODULES)
        else:
            printed[group, title] = output([sys.executable, "-W", "ignore", "-"], text, key, tmp_path)
    assert "event: done" in printed["curl", "Chat, streamed sh"]
    assert '"doc_id":"rome"' in printed["curl", "Semantic search sh"]
    assert "USD" in printed["Python", "Chat, streamed python"]
    assert "rome Rome is the capital of Italy." in printed["Python", "Embed, store, search python"]


def test_a_customer_sees_programs_with_its_own_models(visit: Visit, gateway: Gateway) -> None:
    customer = visit(gateway, "customer", width=390).go("/gateway/dashboard/integration")
    text = customer.main.inner_text()
    assert f"{gateway.url}/v1" in text
    assert "Events of a stream" in text

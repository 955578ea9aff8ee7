"""The wheel, installed outside the checkout; and a stranger's lane beside it, without touching the core."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import aiohttp
import pytest

from kaixu.edge.operator_cookies import SESSION_COOKIE
from kaixu.web.page_sessions import CUSTOMER_COOKIE
from tests.support.process import free_port
from tests.web.pages import PAGES

ROOT = Path(__file__).parents[2]

ACME_PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "kaixu-acme"
version = "1.2.3"
dependencies = ["kaixu"]

[project.entry-points.kaixu]
acme = "kaixu_acme"
"""

ACME_LANE = '''
"""A lane that shouts."""

from collections.abc import AsyncIterator

from kaixu.plugin import ChatDelta, ChatEvent, ChatRequest, Event, Finish, Lane, Options, RegisterLane, Usage, Wire, hookimpl


class AcmeOptions(Options):
    volume: int = 1


class Acme(Lane):
    def __init__(self, options: AcmeOptions) -> None:
        self.volume = options.volume

    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        assert not any("kx_live" in repr(value) for value in (request, wire, vars(self)))
        yield ChatDelta(request.messages[-1].text.upper() + "!" * self.volume)
        yield Usage(input_tokens=10, output_tokens=5)
        yield Finish("stop")


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    register("acme", Acme, AcmeOptions)


@hookimpl
def on_event(event: Event) -> None:
    with open("events", "a") as file:
        file.write(f"{event.kind} {event.detail.get('cost_nusd')}\\n")
'''


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; what it depends on is lent from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    for above in (folder, *folder.parents):
        if os.geteuid() == 0 and above.is_relative_to(tmp_path_factory.getbasetemp().parent):
            above.chmod(above.stat().st_mode | 0o055)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    site = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    acme = folder / "acme"
    acme.mkdir()
    (acme / "pyproject.toml").write_text(ACME_PROJECT)
    (acme / "kaixu_acme.py").write_text(ACME_LANE)
    (wheel,) = (folder / "dist").glob("*.whl")
    for what in (str(wheel), str(acme)):
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", what],
            check=True, capture_output=True,
        )  # fmt: skip
    return folder / "venv"


def environment(port: int) -> dict[str, str]:
    """Nothing but what a shell has."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "KAIXU_BIND": f"127.0.0.1:{port}"}


async def listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until it answers."""
    import asyncio

    async with aiohttp.ClientSession() as http:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            try:
                async with http.get(f"http://127.0.0.1:{port}/api/health") as response:
                    if response.status == 200 and "Try it" in log.read_text():
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise AssertionError(log.read_text())


async def every_page_opens(url: str, *, password: str, key: str) -> None:
    """All pages of the list, as an operator and a customer: their templates, texts and static files are there."""
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(cookie_jar=jar, headers={"accept": "text/html"}) as http:
        async with http.post(f"{url}/api/admin-login", json={"password": password}) as response:
            operator = (await response.json())["token"]
        async with http.post(f"{url}/api/session-token", headers={"authorization": f"Bearer {key}"}) as response:
            customer = (await response.json())["token"]
        session = {"cookie": f"{SESSION_COOKIE}={operator}; {CUSTOMER_COOKIE}={customer}"}
        opened, files = 0, set()
        for page in PAGES:
            if "{" in page.path:
                continue  # about something that an empty database does not have
            headers = {} if page.role == "public" else session
            async with http.get(f"{url}{page.path}", headers=headers, allow_redirects=False) as response:
                text = await response.text()
                assert response.content_type == "text/html", f"{page.path}: {text[:300]}"
                assert response.status == page.status or "?" in page.path, f"{page.path}: {response.status}"
                assert response.status < 500, f"{page.path}: {text[:300]}"
            opened += 1
            files |= set(re.findall(r'"(/gateway/static/[^"#]+)', text))
        assert opened > 30
        assert len(files) > 5
        for file in sorted(files):
            async with http.get(f"{url}{file}") as response:
                assert response.status == 200, file


async def test_the_wheel_serves_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    where = subprocess.check_output(
        [installed / "bin" / "python", "-c", "import kaixu; print(kaixu.__file__)"], text=True, cwd=tmp_path
    )
    assert where.startswith(str(installed))
    for above in (tmp_path, *tmp_path.parents):
        if os.geteuid() == 0 and above.name.startswith(("pytest", "test")):
            above.chmod(above.stat().st_mode | 0o055)
    port = free_port()
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [installed / "bin" / "kaixu", "serve", "--dev"], cwd=tmp_path, env=environment(port), stdout=out, stderr=out
        )
    try:
        await listening(process, port, log)
        said = log.read_text()
        assert "lane kaixu: off: OPENAI_API_KEY is not set" in said
        assert "admin password" in said
        text = (tmp_path / "kaixu.yaml").read_text()
        assert text.count("#") > 10
        assert (tmp_path / ".kaixu" / "secrets.json").stat().st_mode & 0o777 == 0o600
        curl = next(line for line in said.splitlines() if line.startswith("curl "))
        key = curl.split("Bearer ")[1].split("'")[0]
        body = json.loads(curl.split("-d '")[1].rstrip("'"))
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                f"http://127.0.0.1:{port}/api/gateway-chat", json=body, headers={"authorization": f"Bearer {key}"}
            ) as response,
        ):
            answer = await response.json()
            assert response.status == 200, answer
            assert "Rome" in answer["output_text"]
        told = next(line for line in said.splitlines() if line.startswith("admin password"))
        await every_page_opens(f"http://127.0.0.1:{port}", password=told.rpartition(": ")[2], key=key)
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert key not in log.with_name("log").read_text().replace(curl, "")


async def test_a_strangers_package_is_a_lane_like_ours(installed: Path, tmp_path: Path, dsn: str) -> None:
    port = free_port()
    (tmp_path / "kaixu.yaml").write_text(
        """
lanes:
  loud:
    plugin: acme
    volume: 3
    models:
      shout: {type: chat, price: {input: 1, output: 2}}
  broken:
    plugin: nowhere
    models:
      gone: {type: chat, price: {input: 1, output: 2}}
"""
    )
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [installed / "bin" / "kaixu", "serve", "--dev"],
            cwd=tmp_path, env=environment(port) | {"DATABASE_URL": dsn}, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        await listening(process, port, log)
        key = (tmp_path / ".kaixu" / "dev-key").read_text()
        headers = {"authorization": f"Bearer {key}"}
        messages = [{"role": "user", "content": "hello"}]
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{port}/api/gateway-chat"
            async with http.post(
                url, json={"provider": "loud", "model": "shout", "messages": messages}, headers=headers
            ) as response:
                answer = await response.json()
                assert (response.status, answer["output_text"]) == (200, "HELLO!!!")
                assert answer["usage"]["cost_usd"] == "0.00002"
            async with http.post(
                url, json={"provider": "broken", "model": "gone", "messages": messages}, headers=headers
            ) as response:
                answer = await response.json()
                assert (response.status, answer["code"]) == (503, "PLUGIN_FAILED")
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert "settled 20000" in (tmp_path / "events").read_text()

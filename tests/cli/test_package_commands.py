"""Commands of installed packages: found by their entry points, clients of a gateway, harmless where they are broken."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import asyncpg
import pytest

from kaixu.cli.gateway_client import GatewayClient
from kaixu.plugin import CommandError
from tests.support.kaixu import run_kaixu
from tests.support.money import customer, virtual_key
from tests.support.process import Process, config_for

PARCEL = '''
"""Parcels."""

from typing import Annotated

import typer

from kaixu.plugin import CommandError, GatewayClient


def who(gateway: GatewayClient, short: Annotated[bool, typer.Option(help="Only the role.")] = False) -> None:
    """Say whose key this is."""
    own = gateway.json("GET", "/api/push-whoami")
    typer.echo(own["role"] if short else f"{own['customer_email']} {own['role']} at {gateway.url}")


def send(gateway: GatewayClient, path: str, times: int = 1) -> None:
    """Send a GET."""
    typer.echo(" ".join(str(gateway.send("GET", path, accept={404}).status_code) for _ in range(times)))


def refuse(gateway: GatewayClient) -> None:
    """Refuse."""
    raise CommandError("no parcels \\x1b[31mtoday", hint="Come back tomorrow.")


def crash(gateway: GatewayClient) -> None:
    """Crash."""
    raise RuntimeError("a bug")


def leave(gateway: GatewayClient) -> None:
    """Leave with a code."""
    raise typer.Exit(3)


group = {"who": who, "refuse": refuse}


async def later(gateway: GatewayClient) -> None:
    """Not possible."""


def steals(gateway: GatewayClient, key: str) -> None:
    """Not possible."""


def nothing() -> None:
    """Not possible."""
'''


def install(folder: Path, package: str, commands: str, **modules: str) -> None:
    """Put a package and its metadata into a folder, as an installation does."""
    folder.mkdir(exist_ok=True)
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nSummary: The {package}.\n")
    (info / "entry_points.txt").write_text(commands)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


def entries(**commands: str) -> str:
    """The entry points of commands."""
    lines = (f"{name.replace('_', '-')} = {target}" for name, target in commands.items())
    return "[kaixu.commands]\n" + "\n".join(lines) + "\n"


class Shell:
    """A customer's machine: no kaixu.yaml, no secrets, a folder with packages."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"
        self.site.mkdir()
        self.home = folder / "home"
        self.home.mkdir()

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`kaixu …`."""
        given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.site), "COLUMNS": "200"}
        return run_kaixu(*words, environment=given | environment, folder=self.home)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A machine with the package of parcels."""
    made = Shell(tmp_path)
    commands = entries(
        parcel="parcel:who", send="parcel:send", parcels="parcel:group", refuse="parcel:refuse", crash="parcel:crash",
        leave="parcel:leave", later="parcel:later", steals="parcel:steals", nothing="parcel:nothing",
        missing="parcel:missing", elsewhere="no_such_module:run",
    )  # fmt: skip
    install(made.site, "kaixu-parcel", commands, parcel=PARCEL)
    return made


async def test_a_command_is_a_client_of_the_gateway(shell: Shell, tmp_path: Path, dsn: str, pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    await pool.execute("update kaixu.customer set email = 'ada@example.com' where id = $1", customer_id)
    _, key = await virtual_key(pool, customer_id, role="deployer")
    gateway = Process(tmp_path / "gateway", dsn, config_for("http://127.0.0.1:9", "m"))
    await gateway.start()
    try:
        reached = {"KAIXU_URL": gateway.url + "/", "KAIXU_KEY": key}
        ran = shell.run("parcel", **reached)
        assert (ran.returncode, ran.stdout) == (0, f"ada@example.com deployer at {gateway.url}\n"), ran.stderr
        ran = shell.run("parcels", "who", "--short", "--url", gateway.url, "--key", key)
        assert (ran.returncode, ran.stdout) == (0, "deployer\n"), ran.stderr
        assert shell.run("send", "/api/nothing", "--times", "2", **reached).stdout == "404 404\n"
        # What the gateway refuses is told in its words, with its hint; without a traceback and without the key.
        ran = shell.run("parcel", "--url", gateway.url, "--key", "kx_live_nobody")
        assert ran.returncode == 1
        assert ran.stderr.startswith("Invalid or revoked key"), ran.stderr
        assert "Traceback" not in ran.stderr
        assert "kx_live_nobody" not in ran.stderr
    finally:
        await gateway.stop()
    ran = shell.run("parcel", **reached)
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (
        1,
        f"the gateway at {gateway.url} does not answer: ConnectError",
    )
    assert key not in ran.stderr


def test_the_list_has_them_and_runs_nothing_of_them(shell: Shell) -> None:
    install(shell.site, "kaixu-loud", entries(loud="loud:run", silent="silent_package.inner:run"), loud="print('loud')")
    listed = shell.run("--help")
    assert listed.returncode == 0, listed.stderr
    assert "Commands of packages" in listed.stdout
    lines = [" ".join(line.strip(" │").split()) for line in listed.stdout.splitlines()]
    for line in ("parcel Say whose key this is.", "parcels Parcels.", "refuse Refuse.", "loud The kaixu-loud.",
                 "silent The kaixu-loud.", "elsewhere The kaixu-parcel."):  # fmt: skip
        assert line in lines, listed.stdout
    assert "serve" in listed.stdout
    assert "\nloud" not in listed.stdout
    told = shell.run("parcel", "--help").stdout
    assert "KAIXU_URL" in told
    assert "KAIXU_KEY" in told
    assert "Only the role." in told


def test_names_that_are_taken_are_refused_with_a_sentence(shell: Shell) -> None:
    install(shell.site, "kaixu-evil", entries(keys="evil:run", parcel="evil:run", Bad_Name="evil:run"), evil="1 / 0")
    listed = shell.run("--help")
    assert listed.returncode == 0
    assert "`kaixu keys` is the gateway's own command: that of package kaixu-evil is left out" in listed.stderr
    assert "`kaixu parcel` is claimed by the packages kaixu-evil and kaixu-parcel" in listed.stderr
    assert "package kaixu-evil: `Bad-Name` cannot be the name of a command" in listed.stderr
    own = shell.run("keys", "--help")
    assert (own.returncode, "evil" in own.stderr + own.stdout) == (0, False)
    assert "rotate" in own.stdout
    ran = shell.run("parcel", KAIXU_KEY="kx")
    assert (ran.returncode, "uninstall one of them" in ran.stderr) == (1, True)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("missing", "AttributeError"),
        ("elsewhere", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("later", "a command is a plain function, not an `async def`"),
        ("steals", "a command cannot have the parameter `key`"),
        ("nothing", "the first parameter of a command is the gateway's client"),
        ("crash", "`kaixu crash` failed: RuntimeError: a bug"),
    ],
)
def test_a_broken_command_is_told_in_a_sentence(shell: Shell, word: str, sentence: str) -> None:
    ran = shell.run(word, KAIXU_KEY="kx")
    assert ran.returncode == 1
    assert sentence in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Traceback" in shell.run(word, KAIXU_KEY="kx", KAIXU_TRACEBACK="1").stderr


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("raise SystemExit('gone')", entries(hello="hello:run")),
        ("def run(:", entries(hello="hello:run")),
        ("", "[kaixu.commands]\nhello\n= =\n[[["),
        ("", "\x00\xff[kaixu.commands\nhello = hello"),
    ],
    ids=["exits", "syntax", "lines", "binary"],
)
def test_a_broken_package_breaks_nothing_else(shell: Shell, text: str, commands: str) -> None:
    install(shell.site, "kaixu-hello", commands, hello=text)
    listed = shell.run("--help")
    assert listed.returncode == 0, listed.stderr
    assert "Say whose key this is." in listed.stdout
    for words in (("keys", "--help"), ("parcel", "--help")):
        assert shell.run(*words).returncode == 0
    ran = shell.run("hello", KAIXU_KEY="kx")
    assert ran.returncode in (1, 2)
    assert "Traceback" not in ran.stderr


def test_what_a_command_says_itself_is_printed_harmlessly(shell: Shell) -> None:
    ran = shell.run("refuse", KAIXU_KEY="kx")
    assert (ran.returncode, ran.stderr) == (1, "no parcels  [31mtoday\nCome back tomorrow.\n")
    assert shell.run("leave", KAIXU_KEY="kx").returncode == 3
    ran = shell.run("refuse")
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (1, "`kaixu refuse` needs a key")
    assert shell.run("refuse", "--nonsense", KAIXU_KEY="kx").returncode == 2


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/",
        "//evil.example/",
        "evil",
        "",
        "@evil.example/",
        "/\\evil.example",
        ".evil.example/",
        ":80/",
    ],
)
def test_a_client_sends_to_its_gateway_only(path: str) -> None:
    client = GatewayClient("http://127.0.0.1:9", "kx")
    with pytest.raises(ValueError, match="is not a path of the gateway"):
        client.send("GET", path)


@pytest.mark.parametrize(
    "url", ["", "gateway", "ftp://x/", "file:///etc/passwd", "http://", "https://a:b@c/", "http://[::1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(CommandError, match="the gateway's address is not a URL"):
        GatewayClient(url, "kx")


def test_a_package_that_is_really_installed_has_its_command(tmp_path: Path) -> None:
    """pip puts the entry point there, and `kaixu` of that environment finds it."""
    where = tmp_path / "environment"
    venv.create(where, symlinks=True, system_site_packages=False)
    site = next((where / "lib").glob("python3*")) / "site-packages"
    # This environment's packages, so that kaixu itself need not be installed again.
    own = [path for path in sys.path if path.endswith("site-packages")]
    (site / "own.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in own))
    project = tmp_path / "project"
    project.mkdir()
    (project / "kaixu_parcel.py").write_text(PARCEL)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "kaixu-parcel"\nversion = "1.0"\ndescription = "Parcels."\n'
        '[project.entry-points."kaixu.commands"]\nparcel = "kaixu_parcel:who"\n'
        '[tool.hatch.build.targets.wheel]\nonly-include = ["kaixu_parcel.py"]\n'
    )
    python = where / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-build-isolation", "-q"]
    done = subprocess.run([*pip, str(project)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ran = subprocess.run(
        [str(python), "-m", "kaixu", "--help"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    assert "Say whose key this is." in ran.stdout

"""`kaixu check`: every mistake at once, whatever the file is; and no traceback for any of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Thread

import pytest

from .conftest import CONFIG, Piped

WRONG = """
gateway: {grace: 5}
lanes:
  vendor:
    plugin: openai
    api_kee: secret-of-mine
    retries: many
    models:
      chat: {type: chatt, price: {input: 1, output: 2}}
      good: {type: embed, price: {input: 1}}
  echo:
    plugin: echo
    speed: 5
    models: {chat: {type: chat, price: {input: 1, output: 2}}}
  loud:
    plugin: ./loud.py
    models:
      chat: {type: chat, price: {input: 1, output: 2}}
      embed: {type: embed, price: {input: 1}}
  nobody:
    plugin: nothing
    models: {m: {type: chat}}
plugins: [./none.py]
"""

LOUD = """
from kaixu.plugin import Lane, Options, hookimpl

class Loud(Lane):
    def __init__(self, options):
        raise SystemExit("a lane of a broken file must not be opened")

    async def chat(self, request, wire):
        yield

@hookimpl
def register_lanes(register):
    register("loud", Loud, Options)
"""

MISTAKES = [
    "kaixu.yaml:2:11: `grace` is not a field of `gateway`; did you mean `grace_s`?",
    "kaixu.yaml:4:3: lane `vendor` needs `api_key`; did you mean that by `api_kee`?",
    "kaixu.yaml:6:5: `api_kee` is not a field of lane `vendor`; did you mean `api_key`?",
    "kaixu.yaml:7:5: `retries` must be a whole number",
    "kaixu.yaml:9:14: `type` must be 'chat' or 'embed'",
    "kaixu.yaml:13:5: `speed` is not a field of lane `echo`",
    "kaixu.yaml:19:15: plugin `./loud.py` has no embed models",
    "kaixu.yaml:21:5: there is no plugin `nothing`; install its package, or check the name with `kaixu plugins`",
    "kaixu.yaml:23:11: there is no plugin file ./none.py beside kaixu.yaml",
]


def test_mistakes_of_the_core_and_of_every_plugin_are_said_at_once(piped: Piped, tmp_path: Path) -> None:
    (tmp_path / "kaixu.yaml").write_text(WRONG)
    (tmp_path / "loud.py").write_text(LOUD)
    ran = piped("check")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines() == MISTAKES
    ran = piped("check", "--json")
    assert ran.returncode == 1
    environment = "this shell's: no gateway runs with this data folder"
    assert json.loads(ran.stdout) == {"config": "kaixu.yaml", "wrong": MISTAKES, "environment": environment}


def test_any_file_can_be_checked_and_one_without_lanes_is_said(piped: Piped, tmp_path: Path) -> None:
    for name, text in (("empty.yaml", ""), ("comment.yaml", "# nothing yet\n"), ("bare.yaml", "gateway: {}\n")):
        (tmp_path / name).write_text(text)
        ran = piped("check", name)
        assert (ran.returncode, ran.stderr) == (
            0,
            "note: no lanes are declared, so no model can be called\n",
        )
        assert json.loads(piped("check", name, "--json").stdout)["notes"]
    ran = piped("check", "kaixu.yaml", KAIXU_CONFIG="elsewhere.yaml")
    assert (ran.returncode, ran.stderr) == (0, "")


def test_names_without_effect_in_allow_and_known_fields_are_said(piped: Piped, tmp_path: Path) -> None:
    (tmp_path / "kaixu.yaml").write_text("""
lanes:
  vendor:
    plugin: openai
    api_key: k
    known_fields: [cache_salt, service_tier]
    models:
      chat: {type: chat, price: {input: 1, output: 2}, allow: [service_teir, web_search_preview, n_predict]}
""")
    ran = piped("check", "--no-database")
    assert ran.returncode == 0
    notes = [line.partition(" of ")[0] + " … " + line.rpartition(" ")[2] for line in ran.stderr.splitlines()]
    assert notes == [
        "note: `service_teir` in `allow` … `service_tier`?",
        "note: `n_predict` in `allow` … it",
        "note: `service_tier` in `known_fields` … model",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x7fELF\x02\x01\x01\x00\xff\xfe\x80", ":1:9: the file is not UTF-8"),
        ("gateway: {}\n".encode("utf-16"), ":1:1: the file is not UTF-8"),
        (b"lanes:\0\n", ":1:7: this character is not allowed here"),
        (b"lanes:\n\techo: 1\n", "; indent with spaces"),
        (b"lanes:\n  echo:\n\tplugin: echo\n", "; indent with spaces"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", ":1:4: anchors and aliases are not used here"),
        (b"lanes: *nothing\n", ":1:8: anchors and aliases are not used here"),
        (b"[" * 5000, ":1:22: nested deeper than 20 levels"),
        (b" " * (1024 * 1024 + 1), ":1:1: the file is larger than 1048576 bytes"),
        (b"a: 1\n---\nb: 2\n", "this is not YAML: but found another document"),
        (b"lanes: [1]\n", "`lanes` must be a section with fields of its own"),
        (b"lanes: {echo: 5}\n", "`echo` must be a section with fields of its own"),
        (b"just text\n", "the file must be a mapping of sections"),
    ],
    ids=["binary", "UTF-16", "NUL", "a tab", "a tab further down", "a bomb", "an alias", "deep", "large",
         "two documents", "a list of lanes", "a number for a lane", "text"],
)  # fmt: skip
def test_what_is_no_configuration_is_said_in_a_line_with_its_place(
    content: bytes, said: str, piped: Piped, tmp_path: Path
) -> None:
    (tmp_path / "kaixu.yaml").write_bytes(content)
    ran = piped("check", "--no-database")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("kaixu.yaml:")
    assert said in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [("serve",), ("serve", "--dev"), ("check",), ("plugins",), ("prices", "check")])
def test_a_path_that_leads_nowhere_is_said_in_a_line(words: tuple[str, ...], piped: Piped, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "no" / "such" / "kaixu.yaml")
    ran = piped(*words, KAIXU_CONFIG=nowhere)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert ran.stderr.startswith(nowhere)
    assert "o such file" in ran.stderr
    folder = piped(*words, KAIXU_CONFIG=str(tmp_path))
    assert folder.stderr == f"{tmp_path}:1:1: this is a folder; name the file in it\n"


def test_a_data_folder_that_cannot_be_is_said_in_a_line(piped: Piped, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = piped("serve", "--dev", KAIXU_HOME=str(tmp_path / "file"))
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert ran.stderr.startswith(f"{tmp_path / 'file'}: ")


def test_a_named_pipe_can_be_checked(piped: Piped, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_text, args=(CONFIG,))
    writer.start()
    assert json.loads(piped("check", str(pipe), "--no-database", "--json").stdout)["lanes"] == 1
    writer.join()

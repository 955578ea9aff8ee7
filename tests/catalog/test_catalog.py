from __future__ import annotations

import logging
import sys

import pytest

from kaixu.catalog.catalog import Catalog, PluginObserver
from kaixu.plugin import Event, PluginError
from kaixu.plugin.errors import LaneOff, PluginFailed, UnknownModel

from .conftest import LANE, Folder

TWO_LANES = """
lanes:
  swift:
    plugin: echo
    aliases: [kAIxu]
    models:
      kaixu-chat: {type: chat, aliases: [default]}
      kaixu-mini: {type: chat}
  house:
    plugin: openai
    api_key: ${OPENAI_API_KEY}
    models:
      notes: {type: embed}
"""


@pytest.fixture
def catalog(folder: Folder) -> Catalog:
    return folder.build(TWO_LANES)


SHARED = """
lanes:
  kaixu:
    plugin: echo
    models:
      kaixu-chat: {type: chat}
      both: {type: chat}
  kaixu-core:
    plugin: echo
    aliases: [kAIxu]
    models:
      core-chat: {type: chat}
  other:
    plugin: echo
    models:
      both: {type: chat}
"""


@pytest.mark.parametrize(
    ("provider", "model", "lane", "asked"),
    [
        ("kaixu", "kaixu-chat", "kaixu", "kaixu"),
        ("KAIXU", "core-chat", "kaixu-core", "kaixu"),
        ("kaixu-core", "core-chat", "kaixu-core", "kaixu-core"),
        (None, "kaixu-chat", "kaixu", "kaixu"),
        (None, "core-chat", "kaixu-core", "kaixu-core"),
        (None, "kaixu/core-chat", "kaixu-core", "kaixu"),
        (None, "other/both", "other", "other"),
    ],
)
def test_a_name_may_be_answered_by_several_lanes_and_a_model_s_name_may_hold_it(
    folder: Folder, provider: str | None, model: str, lane: str, asked: str
) -> None:
    found = folder.build(SHARED).resolve(provider, model, "chat")
    assert (found.deployment.provider, found.provider) == (lane, asked)


@pytest.mark.parametrize(
    ("model", "message", "hint"),
    [
        ("both", "model `both` is offered by 2 providers", "Use one of these names: `kaixu/both`, `other/both`."),
        (
            "core-chta",
            "unknown model `core-chta`; did you mean `core-chat`?",
            "The chat models here: `kaixu-chat`, `both`, `core-chat`, `both`.",
        ),
        ("nobody/m", "unknown provider `nobody`", "Providers here: `kaixu`, `kaixu-core`, `other`."),
        (
            "kaixu/core-chta",
            "unknown model `core-chta` of provider `kaixu`; did you mean `core-chat`?",
            "Its chat models: `kaixu-chat`, `both`, `core-chat`.",
        ),
    ],
)
def test_a_bare_name_must_mean_one_thing(folder: Folder, model: str, message: str, hint: str) -> None:
    with pytest.raises(UnknownModel) as raised:
        folder.build(SHARED).resolve(None, model, "chat")
    assert (raised.value.message, raised.value.hint) == (message, hint)


@pytest.mark.parametrize("provider", ["swift", "SWIFT", "kAIxu", "kaixu", "KAIXU"])
@pytest.mark.parametrize("model", ["kaixu-chat", "default"])
def test_provider_is_found_in_any_case_and_both_by_their_aliases(catalog: Catalog, provider: str, model: str) -> None:
    found = catalog.resolve(provider, model, "chat").deployment
    assert (found.provider, found.model) == ("swift", "kaixu-chat")


@pytest.mark.parametrize(
    ("provider", "model", "kind", "message", "hint"),
    [
        (
            "swfit",
            "x",
            "chat",
            "unknown provider `swfit`; did you mean `swift`?",
            "Providers here: `swift`, `house`.",
        ),
        ("", "x", "chat", "unknown provider ``", "Providers here: `swift`, `house`."),
        (
            "swift",
            "kaixu-chta",
            "chat",
            "unknown model `kaixu-chta` of provider `swift`; did you mean `kaixu-chat`?",
            "Its chat models: `kaixu-chat`, `default`, `kaixu-mini`.",
        ),
        (
            "swift",
            "KAIXU-CHAT",
            "chat",
            "unknown model `KAIXU-CHAT` of provider `swift`; did you mean `kaixu-chat`?",
            "Its chat models: `kaixu-chat`, `default`, `kaixu-mini`.",
        ),
        (
            "house",
            "notes",
            "chat",
            "model `notes` of provider `house` is for embed, not for chat",
            "Its chat models: none.",
        ),
        (
            "swift",
            "kaixu-chat",
            "embed",
            "model `kaixu-chat` of provider `swift` is for chat, not for embed",
            "Its embed models: none.",
        ),
    ],
)
def test_unknown_name_is_answered_with_the_nearest(
    catalog: Catalog, provider: str, model: str, kind: str, message: str, hint: str
) -> None:
    with pytest.raises(UnknownModel) as caught:
        catalog.resolve(provider, model, kind)  # type: ignore[arg-type]
    assert (caught.value.status, caught.value.message, caught.value.hint) == (400, message, hint)


def test_answer_to_an_endless_name_is_short(catalog: Catalog) -> None:
    for provider, model in (("x" * 100_000, "y"), ("swift", "y" * 100_000)):
        with pytest.raises(UnknownModel) as caught:
            catalog.resolve(provider, model, "chat")
        assert len(caught.value.message) < 200


def test_lane_that_is_off_is_found_and_not_ready(catalog: Catalog) -> None:
    deployment = catalog.resolve("house", "notes", "embed").deployment
    with pytest.raises(LaneOff) as caught:
        catalog.ready(deployment)
    assert (caught.value.status, caught.value.code) == (503, "LANE_OFF")
    assert caught.value.message == "lane `house` is off: OPENAI_API_KEY is not set"


def test_lane_whose_plugin_failed_is_not_ready_and_keeps_the_reason_for_the_operator(folder: Folder) -> None:
    folder.write("bad.py", "raise RuntimeError('/srv/private')")
    catalog = folder.lane("plugin: ./bad.py")
    with pytest.raises(PluginFailed) as caught:
        catalog.ready(catalog.resolve("a", "m", "chat").deployment)
    assert (caught.value.status, caught.value.message) == (
        503,
        "lane `a` is not available: its plugin failed",
    )
    assert "/srv/private" in str(catalog.lanes["a"].reason)


LIFE = LANE.replace(
    "    async def chat",
    """
    async def start(self):
        journal.append(f"start {self.speed}")
        if self.speed == 13:
            raise OSError("/srv/private")
        if self.speed == 14:
            raise PluginError("no room for the model")

    async def aclose(self):
        journal.append(f"close {self.speed}")
        if self.speed == 13:
            raise OSError("again")

    async def chat""",
).replace("from kaixu.plugin import", "journal = []\nfrom kaixu.plugin import PluginError,")


def lives(folder: Folder, *, required: str = "false") -> Catalog:
    folder.write("demo.py", LIFE)
    rest = f"required: {required}, models: {{m: {{type: chat}}}}"
    lanes = "".join(f"  l{speed}: {{plugin: ./demo.py, speed: {speed}, {rest}}}\n" for speed in (13, 14, 15))
    return folder.build(f"lanes:\n{lanes}")


async def test_lane_that_does_not_start_has_failed_and_the_others_go_on(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = lives(folder)
    await catalog.start()
    assert {name: (one.state, one.reason) for name, one in catalog.lanes.items()} == {
        "l13": ("failed", "it did not start: OSError"),
        "l14": ("failed", "no room for the model"),
        "l15": ("on", None),
    }
    with pytest.raises(PluginFailed):
        catalog.ready(catalog.resolve("l13", "m", "chat").deployment)
    assert catalog.ready(catalog.resolve("l15", "m", "chat").deployment)
    await catalog.aclose()
    journal = sys.modules[type(catalog.lanes["l15"].lane).__module__].journal
    assert journal == ["start 13", "start 14", "start 15", "close 13", "close 14", "close 15"]


SLOW = """
import asyncio
from kaixu.plugin import Integration, hookimpl

journal = []

async def connect(options):
    journal.append("open")
    await asyncio.sleep(3600)

async def disconnect():
    journal.append("close")

@hookimpl
def register_integrations(register):
    register(Integration("slow", [], open=connect, close=disconnect))
"""


async def test_integration_that_takes_too_long_to_open_is_off_and_says_so(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaixu.catalog.catalog.OPEN_S", 0.05)
    folder.write("slow.py", SLOW)
    catalog = folder.build("integrations: {slow: {plugin: ./slow.py}}")
    [module] = [module for name, module in sys.modules.items() if name.startswith("kaixu_file_slow")]
    await catalog.start()
    slow = catalog.integrations["slow"]
    assert (slow.state, slow.reason) == ("failed", "it did not open within 0.05 seconds")
    await catalog.aclose()
    assert module.journal == ["open"]


CLOSES = """
import asyncio
from pathlib import Path
from kaixu.plugin import Integration, hookimpl

NAME = Path(__file__).stem
journal = []

async def connect(options):
    journal.append("open")

async def disconnect():
    journal.append("close")
    if NAME == "raises":
        raise OSError("again")
    if NAME == "hangs":
        await asyncio.sleep(3600)

@hookimpl
def register_integrations(register):
    register(Integration(NAME, [], open=connect, close=disconnect))
"""


async def test_integrations_that_do_not_close_cleanly_keep_no_other_from_closing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kaixu.catalog.catalog.OPEN_S", 0.05)
    names = ("raises", "hangs", "works")
    for name in names:
        folder.write(f"{name}.py", CLOSES)
    catalog = folder.build("integrations:\n" + "".join(f"  {name}: {{plugin: ./{name}.py}}\n" for name in names))
    await catalog.start()
    await catalog.aclose()
    for name in names:
        [module] = [module for key, module in sys.modules.items() if key.startswith(f"kaixu_file_{name}")]
        assert module.journal == ["open", "close"]
    assert [record.getMessage() for record in caplog.records if "cleanly" in record.getMessage()] == [
        "integration raises did not close cleanly",
        "integration hangs did not close cleanly",
    ]


async def test_required_lanes_that_do_not_start_are_all_named(folder: Folder) -> None:
    with pytest.raises(PluginError) as caught:
        await lives(folder, required="true").start()
    assert str(caught.value) == (
        "lane `l13` is required and failed: it did not start: OSError\n"
        "lane `l14` is required and failed: no room for the model"
    )


def test_observer_that_fails_is_logged_by_name_and_the_next_is_told(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("boom")

    event = Event("settled", {"cost_nusd": 1})
    with caplog.at_level(logging.ERROR):
        Catalog(observers=[PluginObserver("./bad.py", broken), PluginObserver("./good.py", heard.append)]).observe(
            event
        )
    assert heard == [event]
    assert [record.message for record in caplog.records] == ["plugin ./bad.py failed to observe settled"]

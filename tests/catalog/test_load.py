from __future__ import annotations

from collections.abc import Callable

import pytest

from kaixu.catalog.load import Loader
from kaixu.plugin import Event, PluginError

from .conftest import LANE, Folder

TWO = LANE + '    register("other", Demo, DemoOptions)\n'
OPERATION = """
import msgspec
from kaixu.plugin import Free, Integration, Operation, hookimpl

class Nothing(msgspec.Struct):
    pass

async def do(call):
    return Nothing()

@hookimpl
def register_integrations(register):
    register(Integration("ping", [Operation(name, do, Nothing, Free("a test")) for name in {names}]))
"""


def test_hosts_that_are_none_are_refused_when_the_plugin_is_loaded(folder: Folder) -> None:
    code = OPERATION.replace("{names}", '["ping.do"]').replace("]))", '], hosts=["https://vendor.example"]))')
    folder.write("ping.py", code)
    with pytest.raises(PluginError, match=r"integration `ping`: `hosts` has 'https://vendor\.example'"):
        Loader(folder.path).integration("ping", "./ping.py")


def test_plugin_is_loaded_once_whatever_it_is_called(folder: Folder) -> None:
    folder.write("plugins/lanes/acme.py")
    loader = Loader(folder.path)
    assert loader.load("acme", "lane") is loader.load("./plugins/lanes/acme.py", "observer")


def test_file_s_only_lane_needs_no_name_and_one_of_many_does(folder: Folder) -> None:
    folder.write("one.py")
    folder.write("two.py", TWO)
    loader = Loader(folder.path)
    with pytest.raises(PluginError) as caught:
        loader.lane("./two.py")
    assert str(caught.value) == ("plugin ./two.py has no lane `./two.py`, it has `demo`, `other`; write ./two.py:NAME")
    assert loader.lane("./two.py:other")[1] is loader.loaded[str(folder.path / "two.py")].lanes["other"]
    with pytest.raises(PluginError, match=r"no lane `none`, it has `demo`, `other`$"):
        loader.lane("./two.py:none")
    with pytest.raises(PluginError, match=r"^plugin `./one.py` \(./one.py\): lane `demo` is registered by ./two.py"):
        loader.lane("./one.py")


def test_name_registered_twice_names_both_and_the_first_stays(folder: Folder) -> None:
    folder.write("a.py")
    folder.write("b.py", LANE.replace('"demo"', '"mine"') + '    register("demo", Demo, DemoOptions)\n')
    loader = Loader(folder.path)
    first = loader.lane("./a.py")
    with pytest.raises(PluginError) as caught:
        loader.load("./b.py", "lane")
    assert str(caught.value) == "plugin `./b.py` (./b.py): lane `demo` is registered by ./a.py and by ./b.py"
    assert loader.lane("./a.py") == first
    folder.write("c.py", LANE.replace('"demo"', '"mine"'))
    assert loader.lane("./c.py"), "what a failed plugin had registered is free again"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            LANE.replace("def register_lanes", "def register_lane"),
            "there is no hook `register_lane`; did you mean",
        ),
        (
            LANE.replace("(register)", "(register, config)"),
            "Argument(s) {'config'} are declared in the hookimpl",
        ),
        (LANE + "    raise RuntimeError('boom')\n", "cannot register: RuntimeError: boom"),
        (
            LANE + "    from kaixu.plugin import PluginError\n    raise PluginError('no licence')\n",
            ": no licence",
        ),
    ],
)
def test_plugin_whose_hooks_are_wrong_leaves_nothing_behind(folder: Folder, code: str, expected: str) -> None:
    folder.write("bad.py", code)
    folder.write("good.py")
    loader = Loader(folder.path)
    with pytest.raises(PluginError) as caught:
        loader.load("./bad.py", "lane")
    assert "plugin `./bad.py` (./bad.py)" in str(caught.value)
    assert expected in str(caught.value)
    with pytest.raises(PluginError) as again:
        loader.load("./bad.py", "lane")
    assert str(again.value) == str(caught.value)
    assert loader.lane("./good.py")[0].found.where == "./good.py"


def test_plugin_that_is_listed_can_be_named_by_what_it_registers(folder: Folder) -> None:
    folder.write("mine.py", TWO)
    loader = Loader(folder.path)
    loader.load("./mine.py", "observer")
    assert loader.lane("other")[0].found.where == "./mine.py"
    folder.write("plugins/lanes/other.py")
    with pytest.raises(PluginError, match=r"`other` could be ./mine.py or plugins/lanes/other.py; rename one"):
        loader.lane("other")


def test_only_what_is_named_is_imported(folder: Folder, install: Callable[..., None]) -> None:
    install("evil", "evil", "evil_plugin", "raise SystemExit('imported')")
    folder.write("plugins/lanes/other.py", "raise SystemExit('imported')")
    loader = Loader(folder.path)
    loader.lane("echo")
    assert [one.name for one in loader.loaded.values()] == ["echo"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("['ping.a', 'pong.b']", "operation `pong.b` must be called `ping.<what>`"),
        ("['ping.']", "operation `ping.` must be called `ping.<what>`"),
        ("['ping.a', 'ping.a']", "operation `ping.a` is registered twice"),
    ],
)
def test_operations_are_named_after_their_integration_and_once(folder: Folder, names: str, expected: str) -> None:
    folder.write("ping.py", OPERATION.replace("{names}", names))
    with pytest.raises(PluginError, match=expected):
        Loader(folder.path).integration("ping", "./ping.py")


def test_each_observer_is_told_alone(folder: Folder) -> None:
    code = "from kaixu.plugin import hookimpl\nheard = []\n"
    code += "@hookimpl\ndef on_event(event):\n    heard.append(event)\n"
    folder.write("a.py", code)
    folder.write("b.py", code)
    folder.write("c.py")
    loader = Loader(folder.path)
    plugins = [loader.load(f"./{name}.py", "observer") for name in "abc"]
    (_, tell), _ = loader.observers()
    tell(Event("reload", {}))
    assert [getattr(one.module, "heard", None) for one in plugins] == [[Event("reload", {})], [], None]
    assert [one.kind for one in plugins] == ["observer", "observer", "lane"]

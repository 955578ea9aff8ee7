from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaixu.assets import asset
from kaixu.catalog.build import build
from kaixu.catalog.catalog import PluginState
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.config.price import Price
from kaixu.plugin import Event, PluginError

from .conftest import LANE, Folder

SECRET = LANE.replace("speed: int = 1", "speed: int = 1\n    key: SecretStr").replace(
    "from kaixu.plugin", "from pydantic import SecretStr, field_validator\nfrom kaixu.plugin"
)
PING = """
import msgspec
from kaixu.plugin import Integration, Operation, Options, PerCall, hookimpl

class PingOptions(Options):
    token: str

class Nothing(msgspec.Struct):
    pass

async def say(call):
    return Nothing()

@hookimpl
def register_integrations(register):
    register(Integration("ping", [Operation("ping.say", say, Nothing, PerCall("say"))], PingOptions))
"""


def states(plugins: list[PluginState]) -> dict[str, tuple[str, str, str, str | None]]:
    return {one.name: (one.kind, one.source, one.state, one.reason) for one in plugins if one.kind != "?"}


@pytest.mark.parametrize(
    "path",
    [asset("kaixu.yaml"), *sorted(asset("config").glob("examples/*.yaml"))],
    ids=lambda path: path.name,
)
def test_example_opens_with_and_without_credentials(path: Path) -> None:
    names = ("OPENAI_API_KEY", "HOUSE_API_KEY", "GEMINI_API_KEY", "VOYAGE_API_KEY")
    keys = dict.fromkeys(names, "sk-0123456789")
    for environ in ({}, keys):
        catalog = build(load(path, environ), path.parent, strict=True)
        expected = {"on"} if environ else {"on", "off"}
        assert {one.state for one in catalog.lanes.values()} <= expected


@pytest.mark.parametrize("name", ["demo", "./plugins/lanes/demo.py", "./plugins/lanes/demo.py:demo"])
def test_file_plugin_opens_a_lane_with_its_options(folder: Folder, name: str) -> None:
    folder.write("plugins/lanes/demo.py")
    catalog = folder.lane(f"plugin: {name}\n    speed: 3")
    lane: Any = catalog.ready(catalog.resolve("a", "m", "chat").deployment)
    assert lane.speed == 3
    assert states(catalog.plugins) == {name: ("lane", "file", "on", None)}


def test_installed_plugin_opens_a_lane(folder: Folder, install: Callable[..., None]) -> None:
    install("kaixu-mistral", "demo", "kaixu_mistral")
    catalog = folder.lane("plugin: demo")
    assert catalog.lanes["a"].state == "on"
    assert PluginState("demo", "lane", "package", "kaixu_mistral (kaixu-mistral)", "1.2", "on", None) in catalog.plugins


def test_installed_plugin_that_nothing_names_is_listed_and_not_imported(
    folder: Folder, install: Callable[..., None]
) -> None:
    install("evil", "evil", "evil_plugin_one", "raise SystemExit('imported')")
    listed = next(one for one in folder.build("").plugins if one.name == "evil")
    assert (listed.kind, listed.state, listed.reason) == ("?", "off", "nothing in kaixu.yaml names it")


def test_deployment_holds_what_the_file_says(folder: Folder) -> None:
    catalog = folder.build(
        """
        lanes:
          a:
            plugin: echo
            on_disconnect: drain
            retries: 0
            timeouts: {total_s: 5}
            models:
              m: {type: chat, upstream: u, price: {input: 0.1, output: 1}, cost: {input: 0, output: 0.5},
                  max_output_tokens: 7, image_tokens: 9, aliases: [n]}
              bare: {type: chat}
        """
    )
    one = catalog.resolve("A", "n", "chat").deployment
    assert (one.provider, one.model, one.kind, one.upstream) == ("a", "m", "chat", "u")
    assert one.price == Price(10**8, 10**9, 10**8, 10**8, 10**9)
    assert one.cost == Price(0, 5 * 10**8, 0, 0, 5 * 10**8)
    assert (one.max_output_tokens, one.image_tokens, one.dimensions) == (7, 9, None)
    assert (one.on_disconnect, one.retries, one.timeouts.total_s) == ("drain", 0, 5)
    bare = catalog.resolve("a", "bare", "chat").deployment
    assert (bare.upstream, bare.price, bare.cost) == ("bare", None, None)
    assert catalog.deployments == [one, bare]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("plugin: echo\n    optoins: 1", "4:5: `optoins` is not a field of lane `a`"),
        (
            "plugin: echo\n    delai_ms: 1",
            "4:5: `delai_ms` is not a field of lane `a`; did you mean `delay_ms`?",
        ),
        ("plugin: echo\n    retrys: 1", "4:5: `retrys` is not a field of lane `a`; did you mean `retries`?"),
        ("plugin: echo\n    delay_ms: fast", "4:5: `delay_ms` must be a whole number"),
        ("plugin: openai", "2:3: lane `a` needs `api_key`"),
        ("plugin: ehco", "3:5: there is no plugin `ehco`; did you mean `echo`?"),
        ("plugin: ./no.py", "3:5: there is no plugin file ./no.py beside kaixu.yaml"),
        ("plugin: ./demo.py:x", "3:5: plugin ./demo.py has no lane `x`, it has `demo`"),
    ],
)
def test_mistake_in_a_plugin_s_section_has_its_line_and_column(folder: Folder, fields: str, expected: str) -> None:
    folder.write("demo.py")
    catalog = folder.lane(fields)
    assert [str(one) for one in catalog.mistakes] == [f"kaixu.yaml:{expected}"]
    assert (catalog.lanes["a"].state, catalog.lanes["a"].reason) == ("failed", f"kaixu.yaml:{expected}")
    with pytest.raises(ConfigError) as caught:
        folder.lane(fields, strict=True)
    assert str(caught.value) == f"kaixu.yaml:{expected}"


def test_strict_says_the_mistakes_of_every_section_at_once(folder: Folder) -> None:
    model = "models: {m: {type: chat}}"
    text = f"lanes:\n  a: {{plugin: echo, x: 1, y: 2, {model}}}\n  b: {{plugin: nope, {model}}}\n"
    with pytest.raises(ConfigError) as caught:
        folder.build(f"{text}plugins: [no/such.py]", strict=True)
    assert [(one.line, one.column) for one in caught.value.mistakes] == [(2, 21), (2, 27), (3, 7), (4, 11)]


def test_failing_plugin_fails_its_lanes_and_no_other(folder: Folder) -> None:
    folder.write("bad.py", "1 / 0")
    model = "models: {m: {type: chat}}"
    catalog = folder.build(f"lanes:\n  a: {{plugin: ./bad.py, {model}}}\n  b: {{plugin: echo, {model}}}")
    reason = "plugin `./bad.py` (./bad.py) cannot be imported: ZeroDivisionError: division by zero"
    assert (catalog.lanes["a"].state, catalog.lanes["a"].reason) == ("failed", reason)
    assert catalog.lanes["b"].state == "on"
    assert states(catalog.plugins) == {
        "./bad.py": ("lane", "file", "failed", reason),
        "echo": ("lane", "built-in", "on", None),
    }
    assert catalog.mistakes == [], "the file is right, the plugin is not: a reload may go on"


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        ("./bad.py", "failed: plugin `./bad.py` (./bad.py) cannot be imported: ZeroDivisionError"),
        ("./demo.py\n    key: ${KEY}", "off: KEY is not set"),
        ("./demo.py", "failed: kaixu.yaml:2:3: lane `a` needs `key`"),
    ],
)
def test_required_lane_that_is_not_on_stops_the_start(folder: Folder, plugin: str, expected: str) -> None:
    folder.write("bad.py", "1 / 0")
    folder.write("demo.py", SECRET)
    with pytest.raises(PluginError) as caught:
        folder.lane(f"plugin: {plugin}\n    required: true")
    assert str(caught.value).startswith(f"lane `a` is required and {expected}")


def test_lane_without_its_credential_is_off_with_the_variable_s_name(folder: Folder) -> None:
    folder.write("demo.py", SECRET)
    fields = "plugin: ./demo.py\n    key: ${DEMO_KEY}"
    catalog = folder.lane(fields)
    assert (catalog.lanes["a"].state, catalog.lanes["a"].reason) == ("off", "DEMO_KEY is not set")
    assert states(catalog.plugins)["./demo.py"] == ("lane", "file", "off", "DEMO_KEY is not set")
    assert catalog.mistakes == []
    assert folder.lane(fields, DEMO_KEY="k").lanes["a"].state == "on"


@pytest.mark.parametrize(("one", "missing"), [("", "KEY_ONE"), ("k", "KEY_TWO")], ids=["none is set", "one is set"])
def test_lane_without_one_of_its_several_keys_is_off_with_the_variable_s_name(
    folder: Folder, one: str, missing: str
) -> None:
    catalog = folder.lane("plugin: openai\n    api_keys: ['${KEY_ONE}', '${KEY_TWO}']", KEY_ONE=one)
    assert (catalog.lanes["a"].state, catalog.lanes["a"].reason) == ("off", f"{missing} is not set")
    assert catalog.mistakes == []


def test_mistake_in_a_lane_that_is_off_is_still_said(folder: Folder) -> None:
    folder.write("demo.py", SECRET)
    catalog = folder.lane("plugin: ./demo.py\n    key: ${DEMO_KEY}\n    sped: 3")
    assert [str(one) for one in catalog.mistakes] == [
        "kaixu.yaml:5:5: `sped` is not a field of lane `a`; did you mean `speed`?"
    ]


def test_one_plugin_may_open_many_lanes_and_shows_the_best_of_them(folder: Folder) -> None:
    folder.write("demo.py", SECRET)
    model = "models: {m: {type: chat}}"
    first, second = f"plugin: ./demo.py, key: '${{A}}', {model}", f"plugin: ./demo.py, key: b, {model}"
    catalog = folder.build(f"lanes: {{a: {{{first}}}, b: {{{second}}}}}")
    assert [one.state for one in catalog.lanes.values()] == ["off", "on"]
    assert states(catalog.plugins) == {"./demo.py": ("lane", "file", "on", None)}


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        ("ValueError(options.key.get_secret_value() + ' at ' + str(options.speed))", "ValueError: … at 1"),
        ("PluginError('no model file ./m.gguf')", "no model file ./m.gguf"),
        ("PluginError('bad key ' + options.key.get_secret_value())", "bad key …"),
    ],
)
@pytest.mark.parametrize("key", ["sk-0123456789", "${KEY}"])
def test_constructor_that_fails_says_why_without_secrets(folder: Folder, raised: str, expected: str, key: str) -> None:
    code = SECRET.replace("self.speed = options.speed", f"raise {raised}")
    folder.write("demo.py", code.replace("import Lane,", "import Lane, PluginError,"))
    catalog = folder.lane(f"plugin: ./demo.py\n    key: {key}", KEY="sk-0123456789")
    assert (catalog.lanes["a"].state, catalog.lanes["a"].reason) == ("failed", expected)


def test_validator_that_quotes_what_it_got_does_not_spread_it(folder: Folder) -> None:
    check = """
    key: str

    @field_validator("key")
    @classmethod
    def check(cls, value):
        raise ValueError(f"{value} is no key")
"""
    folder.write("demo.py", SECRET.replace("    key: SecretStr\n", check))
    catalog = folder.lane("plugin: ./demo.py\n    key: sk-0123456789")
    assert [str(one) for one in catalog.mistakes] == ["kaixu.yaml:4:5: `key`: … is no key"]


def test_model_of_a_kind_that_the_lane_cannot_serve_is_a_mistake(folder: Folder) -> None:
    catalog = folder.build("lanes:\n  a:\n    plugin: echo\n    models:\n      e: {type: embed}\n")
    assert [str(one) for one in catalog.mistakes] == ["kaixu.yaml:5:11: plugin `echo` has no embed models"]
    assert catalog.lanes["a"].state == "failed"


def test_listed_plugins_can_be_named_by_lanes_and_observe(folder: Folder) -> None:
    folder.write("mine/demo.py")
    folder.write(
        "mine/watch.py",
        "from kaixu.plugin import hookimpl\n@hookimpl\ndef on_event(event):\n    event.detail['heard'] = 1\n",
    )
    catalog = folder.build("plugins: [mine]\nlanes: {a: {plugin: demo, models: {m: {type: chat}}}}\n")
    assert catalog.lanes["a"].state == "on"
    assert states(catalog.plugins) == {
        "./mine/demo.py": ("lane", "file", "on", None),
        "./mine/watch.py": ("observer", "file", "on", None),
    }
    event = Event("reload", {})
    catalog.observe(event)
    assert event.detail == {"heard": 1}
    assert [observer.where for observer in catalog.observers] == ["./mine/watch.py"]


def test_integration_serves_only_with_a_section_and_its_prices(folder: Folder) -> None:
    folder.write("plugins/integrations/ping.py", PING)
    assert folder.build("").operations == {}
    catalog = folder.build("integrations: {ping: {token: t, price: {say: 0.25}}}")
    state = catalog.integrations["ping"]
    assert (state.state, state.prices_nusd, list(catalog.operations)) == (
        "on",
        {"say": 250_000_000},
        ["ping.say"],
    )
    assert states(catalog.plugins) == {"ping": ("integration", "file", "on", None)}


def test_where_an_integration_may_send_is_declared_and_named_by_its_options(folder: Folder) -> None:
    code = PING.replace("token: str", 'token: str\n    url: WireUrl = "http://10.0.0.1:81"').replace(
        "PerCall, hookimpl", "PerCall, WireUrl, hookimpl"
    )
    code = code.replace("PingOptions))", 'PingOptions, hosts=["ping.example"]))')
    code = code.replace('PerCall("say"))', 'PerCall("say"), on_failure="release")')
    folder.write("plugins/integrations/ping.py", code)
    catalog = folder.build("integrations: {ping: {token: t, price: {say: 0.25}}}")
    assert str(catalog.integrations["ping"].hosts) == "http://10.0.0.1:81, https://ping.example"
    catalog = folder.build("integrations: {ping: {token: t, url: 'https://a.example/v1', price: {say: 0.25}}}")
    assert str(catalog.integrations["ping"].hosts) == "https://a.example, https://ping.example"
    folder.write("plugins/integrations/ping.py", code.replace("http://10.0.0.1:81", "10.0.0.1:81"))
    catalog = folder.build("integrations: {ping: {token: t, price: {say: 0.25}}}")
    assert catalog.integrations["ping"].state == "failed"
    assert "a default of its options names no host" in (catalog.integrations["ping"].reason or "")


@pytest.mark.parametrize(
    ("hosts", "shown", "reason"),
    [
        ('lambda options: [f"{options.token}.example.com"]', "https://t.example.com", None),
        ("lambda options: ()", "", None),
        ('lambda options: ["https://t.example.com"]', "", "`hosts` has 'https://t.example.com'"),
        ('lambda options: "any-public"', "", "`hosts` must return a list of hosts, not 'any-public'"),
        ("lambda options: None", "", "`hosts` must return a list of hosts, not None"),
        ("lambda options: [options.nothing]", "", "`hosts` failed: AttributeError"),
        ("lambda: []", "", "`hosts` must take one argument, the options"),
        ("say", "", "`hosts` must be a `def` function"),
    ],
)
def test_hosts_can_follow_from_the_options(folder: Folder, hosts: str, shown: str, reason: str | None) -> None:
    code = PING.replace("PingOptions))", f"PingOptions, hosts={hosts}))")
    code = code.replace('PerCall("say"))', 'PerCall("say"), on_failure="release")')
    folder.write("plugins/integrations/ping.py", code)
    ping = folder.build("integrations: {ping: {token: t, price: {say: 0.25}}}").integrations["ping"]
    assert (ping.state, str(ping.hosts)) == ("on" if reason is None else "failed", shown)
    assert (reason or "") in (ping.reason or "")


@pytest.mark.parametrize(
    ("section", "expected", "state"),
    [
        ("{token: t}", ["1:16: integration `ping` needs a price `say`"], "failed"),
        (
            "{token: t, price: {say: 1, sy: 1}}",
            ["1:49: integration `ping` charges nothing as `sy`; did you mean `say`?"],
            "failed",
        ),
        ("{price: {say: 1}}", ["1:16: integration `ping` needs `token`"], "failed"),
        ("{token: '${T}', price: {say: 1}}", [], "off"),
        (
            "{plugin: echo}",
            ["1:23: plugin kaixu_echo (kaixu) has no integration `ping`, it has none"],
            "failed",
        ),
    ],
)
def test_integration_that_is_not_complete_offers_nothing(
    folder: Folder, section: str, expected: list[str], state: str
) -> None:
    folder.write("plugins/integrations/ping.py", PING)
    catalog = folder.build(f"integrations: {{ping: {section}}}")
    assert [str(one) for one in catalog.mistakes] == [f"kaixu.yaml:{one}" for one in expected]
    assert (catalog.integrations["ping"].state, catalog.operations) == (state, {})


def test_building_again_after_a_change_uses_the_changed_plugin(folder: Folder) -> None:
    folder.write("demo.py")
    old = folder.lane("plugin: ./demo.py").lanes["a"].lane
    file = folder.write("demo.py", LANE.replace("speed: int = 1", "speed: int = 22"))
    os.utime(file, (1, 1))
    new = folder.lane("plugin: ./demo.py").lanes["a"].lane
    assert (getattr(old, "speed", None), getattr(new, "speed", None)) == (1, 22)


def test_what_served_and_would_fail_is_named_and_what_is_new_or_off_is_not(folder: Folder) -> None:
    folder.write("plugins/integrations/ping.py", PING)
    folder.write("demo.py")
    folder.write("watch.py", "from kaixu.plugin import hookimpl\n@hookimpl\ndef on_event(event): ...\n")
    lane = "{{plugin: ./demo.py, speed: {speed}, models: {{m: {{type: chat}}}}}}"
    ping = "integrations: {ping: {token: t, price: {say: 0.25}}}\n"
    right = lane.format(speed="1")
    before = folder.build(f"plugins: [watch.py]\nlanes: {{a: {right}, b: {right}, c: {right}}}\n{ping}")
    folder.write("watch.py", "raise RuntimeError('asleep')")
    wrong, off = lane.format(speed="fast"), lane.format(speed="'${SPEED}'")
    after = folder.build(
        f"plugins: [watch.py]\nlanes: {{a: {wrong}, b: {off}, new: {wrong}}}\n{ping.replace('say', 'shout')}",
        strict=False,
    )
    with pytest.raises(PluginError) as caught:
        after.require_no_loss(before)
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "lane `a` serves and would fail",
        "integration `ping` serves and would fail",
        "plugin `./watch.py` is loaded and would fail",
    ]
    before.require_no_loss(before)
    before.require_no_loss(after)


def test_the_integrations_of_the_shipped_file_are_off_without_their_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaixu.catalog.shipped.SHIPPED", {"courier": "Courier", "till": "Till"})
    text = "integrations:\n  courier: {client_id: '${COURIER_ID}'}\n  till: {secret_key: x, price: {a: 1}}\n"
    (tmp_path / "kaixu.yaml").write_text(text)
    catalog = build(load(tmp_path / "kaixu.yaml", {}), tmp_path, strict=True)
    assert {name: (one.state, one.reason) for name, one in catalog.integrations.items()} == {
        "courier": ("off", "the plugin `courier` (Courier) is not installed, and COURIER_ID is not set"),
        "till": ("off", "the plugin `till` (Till) is not installed"),
    }
    assert catalog.mistakes == []
    states = {one.name: one.state for one in catalog.plugins if one.kind == "integration"}
    assert states == {"courier": "off", "till": "off"}


@pytest.mark.parametrize("section", ["pusch: {}", "push: {plugin: pusch}", "push: {plugin: ./push.py}"])
def test_any_other_integration_without_a_plugin_is_a_mistake(tmp_path: Path, section: str) -> None:
    (tmp_path / "kaixu.yaml").write_text(f"integrations:\n  {section}\n")
    catalog = build(load(tmp_path / "kaixu.yaml", {}), tmp_path)
    assert [one.state for one in catalog.integrations.values()] == ["failed"]
    assert len(catalog.mistakes) == 1


def test_a_shipped_integration_that_is_required_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaixu.catalog.shipped.SHIPPED", {"till": "Till"})
    (tmp_path / "kaixu.yaml").write_text("integrations: {till: {required: true}}\n")
    with pytest.raises(PluginError, match="integration `till` is required and off: the plugin `till`"):
        build(load(tmp_path / "kaixu.yaml", {}), tmp_path)


@pytest.mark.parametrize("mails", [True, False], ids=["mail", "no mail"])
def test_an_integration_that_mails_says_where_no_mail_is_sent(folder: Folder, mails: bool) -> None:
    folder.write("plugins/integrations/ping.py", PING.replace("PingOptions))", 'PingOptions, grants=["mail"]))'))
    mail = "mail: {host: smtp.example.com, from: a@example.com, tls: none}\n" if mails else ""
    catalog = folder.build(mail + "integrations: {ping: {token: t, price: {say: 0.25}, grants: [mail]}}")
    note = "integration ping writes to customers: without `mail:` they read it in the dashboard only"
    assert catalog.integrations["ping"].state == "on"
    assert (note in catalog.notes) is not mails

"""`IntegrationContract` passes integrations that behave, against their real tables."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from kaixu.plugin import Integration, Options
from kaixu.plugin.testing import Answer, Example, IntegrationContract


def example_package(name: str) -> ModuleType:
    """A package of docs/examples, imported without installing it."""
    folder = Path(__file__).parents[2] / "docs" / "examples" / name.replace("_", "-") / name
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


RELAY = example_package("kaixu_relay")
REGISTERED: list[Integration] = []
RELAY.register_integrations(REGISTERED.append)

URL = "https://hooks.example.com/in"
SENT = RELAY.SendBody(URL, {"hello": "world"})


class TestRelay(IntegrationContract):
    """The example of the docs."""

    integration: ClassVar[Integration] = REGISTERED[0]
    options: ClassVar[Options | None] = RELAY.RelayOptions(hosts=["https://hooks.example.com"])
    changes_on_repeat = ("delivery.tries",)

    def examples(self) -> Mapping[str, Example | Sequence[Example]]:
        sent = [("relay.send", Example(body=SENT))]
        return {
            "relay.send": Example(body=SENT),
            "relay.status": Example(body=RELAY.StatusBody(1), before=sent),
            "relay.deliver": Example(body=RELAY.DeliverBody(1), before=sent, wire=[Answer(204)]),
            "relay.expire": Example(before=sent),
        }

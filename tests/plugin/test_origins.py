"""What an integration may declare as its hosts, and which of its options name one."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pydantic import BaseModel, Field, ValidationError

from kaixu.plugin import Options, PluginError, WireUrl
from kaixu.plugin.origins import Hosts, named_urls, require_hosts


class Inner(BaseModel):
    url: WireUrl


class ManyOptions(Options):
    base_url: WireUrl = "https://default.example"
    spare: WireUrl | None = None
    several: list[WireUrl] = Field(default=[])
    by_name: dict[str, WireUrl] = Field(default={})
    inner: Inner | None = None
    comment: str = "https://comment.example"


def test_an_option_names_a_host_wherever_it_is() -> None:
    assert list(named_urls(ManyOptions())) == ["https://default.example"]
    options = ManyOptions.model_validate(
        {
            "base_url": "https://a.example/v1",
            "spare": "https://b.example",
            "several": ["http://c.example", "http://10.0.0.1:81"],
            "by_name": {"x": "https://d.example"},
            "inner": {"url": "https://e.example"},
        }
    )
    named = {str(origin) for origin in Hosts([], options).named}
    assert named == {
        "https://a.example", "https://b.example", "http://c.example", "http://10.0.0.1:81", "https://d.example",
        "https://e.example",
    }  # fmt: skip


@pytest.mark.parametrize(
    "url", ["api.example.com", "ftp://example.com", "https://", "https://a:b@example.com", "", "https://example.com:port", "//x", "x" * 2001]
)  # fmt: skip
def test_an_option_that_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        ManyOptions(base_url=url)


@pytest.mark.parametrize("hosts", [[], ["api.example.com"], ["a-b.example:8443", "b.example"], "any-public"])
def test_a_declaration_of_hosts(hosts: Any) -> None:
    require_hosts("x", hosts)


@pytest.mark.parametrize(
    "hosts",
    [
        "api.example.com", ["https://api.example.com"], ["api.example.com/v1"], ["*.example.com"], ["Api.example.com"],
        ["example.com:0"], ["example.com:99999"], ["localhost"], ["-a.example"], [""], [1], ["a.example "],
    ],
)  # fmt: skip
def test_a_declaration_that_is_no_host_is_refused_with_the_integration_s_name(hosts: Any) -> None:
    with pytest.raises(PluginError, match="integration `x`"):
        require_hosts("x", hosts)


def test_names_are_compared_as_they_are_sent() -> None:
    hosts = Hosts(["xn--bcher-kva.example"], None)
    assert hosts.allow(httpx.URL("https://b\u00fccher.example/"))
    assert not hosts.allow(httpx.URL("https://bucher.example/"))

"""Where an integration's wire may send: to the hosts that it declares, and to those that its options name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Annotated, Any, Literal, NamedTuple

import httpx
from pydantic import AfterValidator, BaseModel, StringConstraints

from kaixu.plugin.errors import HostNotDeclared, PluginError
from kaixu.plugin.private_addresses import is_private_host

#: `Integration(hosts="any-public")`: any host whose address is public, for URLs that customers give.
AnyPublic = Literal["any-public"]

#: `Integration(hosts=function)`: hosts that follow from the options, as those of a region that an operator names.
HostsOf = Callable[[Any], Sequence[str]]
DeclaredHosts = Sequence[str] | AnyPublic | HostsOf

PORTS = {"https": 443, "http": 80}

#: A host as `Integration.hosts` names it: a name, and a port unless it is 443.
LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
DECLARED = re.compile(rf"{LABEL}(\.{LABEL})+(:(?P<port>[0-9]{{1,5}}))?")


class Origin(NamedTuple):
    """Scheme, host and port of a URL: what the wire compares."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if PORTS.get(self.scheme) == self.port else f":{self.port}")


def origin_of(url: httpx.URL) -> Origin:
    """The origin of a URL; the port is that of the scheme if it names none."""
    return Origin(url.scheme, url.raw_host.decode("ascii").lower(), url.port or PORTS.get(url.scheme, 0))


class NamedUrl(str):
    """A checked `WireUrl`. Its host is one that the wire may send to."""

    __slots__ = ()


def checked_url(text: str) -> NamedUrl:
    """Raises `ValueError` for what is not a URL of a web server."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise ValueError("not a URL") from None
    if url.scheme not in PORTS or not url.host:
        raise ValueError("a URL must begin with https:// or http:// and name a host")
    if url.userinfo:
        raise ValueError("a URL must not contain a user or a password; give the integration a secret of its own")
    return NamedUrl(text)


CHECKED = AfterValidator(checked_url)

#: The type of an option with a URL: the wire may send to its scheme, host and port, also in lists and mappings of them.
#: So an operator can use another base URL, inside a private network too, and tests a stand-in.
WireUrl = Annotated[str, StringConstraints(min_length=1, max_length=2000), CHECKED]


def named_urls(options: BaseModel) -> Iterator[str]:
    """Every `WireUrl` in a plugin's options, at any depth. Raises `ValueError` for a default that is not a URL."""
    for name, field in type(options).model_fields.items():
        value = getattr(options, name)
        if isinstance(value, str) and CHECKED in field.metadata:
            yield checked_url(value)  # a default is not checked by pydantic, so it is a plain `str`
        else:
            yield from urls_within(value)


def urls_within(value: Any) -> Iterator[str]:
    """Every `NamedUrl` in a value of an option."""
    if isinstance(value, NamedUrl):
        yield value
    elif isinstance(value, BaseModel):
        yield from named_urls(value)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from urls_within(key)
            yield from urls_within(one)
    elif isinstance(value, Sequence | Set) and not isinstance(value, str | bytes):
        for one in value:
            yield from urls_within(one)


def require_hosts(name: str, hosts: DeclaredHosts) -> None:
    """Check what integration `name` declares. Raises `PluginError`."""
    if hosts == "any-public":
        return
    if callable(hosts):
        if inspect.iscoroutinefunction(hosts):
            raise PluginError(f"integration `{name}`: `hosts` must be a `def` function, not an `async def`")
        try:
            inspect.signature(hosts).bind(None)
        except TypeError:
            raise PluginError(f"integration `{name}`: `hosts` must take one argument, the options") from None
        return
    if isinstance(hosts, str):
        raise PluginError(f'integration `{name}`: `hosts` is a list of hosts, or "any-public"')
    for host in hosts:
        match = DECLARED.fullmatch(host) if isinstance(host, str) else None
        if match is None or not 0 < int(match["port"] or 443) < 65536:
            raise PluginError(
                f"integration `{name}`: `hosts` has {host!r}; it must be a host name in small letters, as "
                "api.example.com, with a port unless it is 443; the wire uses https"
            )


def hosts_by(name: str, declared: HostsOf, options: object) -> Sequence[str]:
    """The hosts that follow from the options. Raises `PluginError`."""
    try:
        hosts = declared(options)
    except PluginError:
        raise
    except Exception as error:  # a bug in a plugin must not end the gateway
        raise PluginError(f"integration `{name}`: `hosts` failed: {type(error).__name__}: {error}"[:300]) from error
    if isinstance(hosts, str) or not isinstance(hosts, Sequence):
        raise PluginError(f"integration `{name}`: `hosts` must return a list of hosts, not {hosts!r:.80}")
    require_hosts(name, hosts)
    return hosts


class Hosts:
    """Where one integration may send."""

    __slots__ = ("any_public", "named")

    def __init__(self, declared: DeclaredHosts, options: object, name: str = "") -> None:
        if callable(declared):
            declared = () if options is None else hosts_by(name, declared, options)
        self.any_public = declared == "any-public"
        self.named: set[Origin] = set()
        if not isinstance(declared, str):
            self.named = {origin_of(httpx.URL(f"https://{host}")) for host in declared}
        if isinstance(options, BaseModel):
            self.named |= {origin_of(httpx.URL(url)) for url in named_urls(options)}

    def __str__(self) -> str:
        """For the operator."""
        return ", ".join([*sorted(map(str, self.named)), *(["any public address"] if self.any_public else [])])

    def names(self, url: httpx.URL) -> bool:
        """Whether the integration or its options name the origin of `url`."""
        return origin_of(url) in self.named

    def allow(self, url: httpx.URL) -> bool:
        """Whether something may be sent to `url`. The addresses of a name are checked when it is resolved."""
        if self.names(url):
            return True
        return self.any_public and url.scheme in PORTS and bool(url.host) and not is_private_host(url.host)

    def require(self, url: httpx.URL) -> None:
        """Raises `HostNotDeclared`."""
        if self.allow(url):
            return
        if self.any_public:
            raise HostNotDeclared(
                f"the integration may not send to {origin_of(url)}: only to public addresses",
                hint="An operator can name the URL in the integration's options.",
            )
        raise HostNotDeclared(
            f"the integration may not send to {origin_of(url)}: it declares no such host",
            hint="Declare it in `Integration(hosts=…)`, or as an option of type `WireUrl`.",
        )

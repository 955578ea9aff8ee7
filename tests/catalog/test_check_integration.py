"""A declaration that cannot be served switches its integration off with one sentence, and nothing else."""

from __future__ import annotations

import pytest

from .conftest import Folder

PLUGIN = """
from __future__ import annotations
import functools
from typing import Annotated, Any
import msgspec
from kaixu.plugin import (
    Body, Book, Clamped, Free, Header, Integration, Job, Key, Monthly, Operation, Operator, Options, Path, PerCall,
    PerUnit, Public, Query, Rate, RawBody, Schedule, WireUrl, hookimpl,
)

class WithUrl(Options):
    mirrors: list[WireUrl] = []

def two_of(one, other):
    return None

class Nothing(msgspec.Struct):
    pass

class Id(msgspec.Struct):
    id: str

class FromBody(msgspec.Struct):
    x: Annotated[str, Body()]

class NoParameter(msgspec.Struct):
    x: Annotated[str, Path("y")]

class TwoPlaces(msgspec.Struct):
    x: Annotated[str, Body(), Query()]

class RawText(msgspec.Struct):
    x: Annotated[str, RawBody()]

class RawAndBody(msgspec.Struct):
    x: Annotated[bytes, RawBody()]
    y: str = ""

class ClampedText(msgspec.Struct):
    x: Annotated[str, Clamped(1, 2, default=1)]

class BadDefault(msgspec.Struct):
    x: Annotated[int, Clamped(1, 2, default=3)]

class Unknown(msgspec.Struct):
    x: NoSuchType

class Unreadable(msgspec.Struct):
    x: set | list | dict | frozenset

async def do(call):
    return Nothing()

def plain(call):
    return Nothing()

async def two(call, more):
    return Nothing()

async def generator(call):
    yield Nothing()

free = Free("a test")

def op(name="ping.a", handler=do, body=Nothing, charge=free, **more):
    return Operation(name, handler, body, charge, **more)

@hookimpl
def register_integrations(register):
    register(Integration("ping", WHAT))
    register(Integration("other", [op("other.a", aliases=["shared"])]))
"""
WEBHOOKS = """
from kaixu.plugin import Callback, Free, Integration, Operation, Webhook, hookimpl
import msgspec

class Nothing(msgspec.Struct):
    pass

async def do(call):
    return Nothing()

def verify(body, headers, options, now):
    return None

def authorize(options, begun):
    return "https://vendor.example"

def op(alias):
    return Operation("ping.a", do, Nothing, Free("a test"), aliases=[alias], method="GET")

def back(alias):
    return Callback("back", do, "a test", authorize, aliases=[alias])

def hook(name, alias):
    return Webhook(name, verify, do, aliases=[alias])

@hookimpl
def register_integrations(register):
    register(Integration("first", [], webhooks=[hook("events", "shared")]))
    register(Integration("ping", WHAT))
"""
CONFIG = "integrations: {other: {plugin: ./demo.py}, ping: {plugin: ./demo.py, price: {}}}\n"
OPERATION = "operation `ping.a`: "


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("[3]", "`operations[0]` of integration `ping` must be of the type Operation, not 3"),
        ("[op(handler=plain)]", f"{OPERATION}its handler must be an `async def` function, not <function plain"),
        ("[op(handler=generator)]", "for a stream return `Events(generator)`"),
        ("[op(handler=two)]", f"{OPERATION}its handler must take one argument, the call"),
        ("[op(handler=None)]", f"{OPERATION}its handler must be an `async def` function, not None"),
        ("[op(body=dict)]", f"{OPERATION}its input must be a subclass of msgspec.Struct, not <class 'dict'>"),
        ("[op(body=Unknown)]", f"{OPERATION}its input Unknown cannot be read: NameError: name 'NoSuchType'"),
        ("[op(body=Unreadable)]", f"{OPERATION}its input Unreadable cannot be read: TypeError"),
        ("[op(charge=3)]", f"{OPERATION}its charge must be Free, PerCall or PerUnit, not 3"),
        ("[op(charge=Free(' '))]", f"{OPERATION}`Free` must say why it is free"),
        ("[op(charge=PerCall(''))]", f"{OPERATION}its charge must name a price"),
        ("[op(charge=PerCall('a', book='b'))]", f"{OPERATION}there is no book 'b'; there are ai"),
        ("[op(charge=PerUnit('a', unit='b'))]", f"{OPERATION}`most` of its charge must be a number of units"),
        ("[op(charge=PerUnit('a', unit='b', most=do))]", f"{OPERATION}`most` of its charge must be a `def` function"),
        ("[op(charge=PerUnit('a', unit='b', most=lambda: 1))]", f"{OPERATION}`most` of its charge must take one"),
        ("[op(charge=PerCall('a'))], hosts=['a.example']", f"{OPERATION}it has a price and a wire: say `on_failure="),
        ("[op(charge=PerCall('a'))], options=WithUrl", f"{OPERATION}it has a price and a wire: say `on_failure="),
        ("[op(charge=PerCall('a'), on_failure='x')]", f"{OPERATION}its `on_failure` must be one of release, charge_"),
        ("[op(on_failure='release')]", f"{OPERATION}it is free: `on_failure` says what a failure costs"),
        ("[op(holds=['a'])]", "`ping.a` holds `a`, which is not among the charges by key"),
        ("[op(holds='a')]", "`ping.a`: `holds` must be a list of charges, not 'a'"),
        ("[], books=[3]", "`books` must consist of Book, not 3"),
        ("[], books=[Book('ai')]", "integration `ping`: the book `ai` is the gateway's own"),
        ("[], books=[Book('A b')]", "'A b' cannot be the name of a book"),
        ("[], books=[Book('a'), Book('a')]", "book `a` is declared twice"),
        ("[], books=[Book('a', cap='cap')]", "`cap` of book `a` names `cap`, which is no setting and no option"),
        ("[], books=[Book('a', version='v')]", "`version` of book `a` names `v`, which is no setting"),
        ("[], books=[Book('a', refused=do)]", "`refused` of book `a` must be a `def` function"),
        ("[], books=[Book('a', refused=two_of)]", "`refused` of book `a` must take one argument, the facts"),
        ("[], charges=[Free('why')]", "`charges` must consist of PerCall, PerUnit and Monthly, not Free"),
        ("[], charges=[PerCall('a', book='b')]", "charge `a`: there is no book 'b'; there are ai"),
        ("[], charges=[PerCall('a'), Monthly('a')]", "charge `a` is declared twice"),
        ("[], charges=[PerUnit('a', unit='b', most=two_of)]", "charge `a`: `most` of its charge must take one"),
        ("[], charges=[PerUnit('a', unit='b', most=len)]", "a charge by key has no input: `most` must be a number"),
        ("[op(charge=PerCall('a'))], charges=[PerCall('a')]", "the price `a` is one of a charge by key and of `ping.a`"),
        ("[op(charge=PerCall('a'))], charges=[Monthly('m')]", "the book `ai`, which has a monthly charge"),
        ("[op(charge=PerUnit('a', unit='b c', most=1))]", f"{OPERATION}'b c' cannot be a unit"),
        ("[op(charge=PerUnit('a', unit='b', most=0))]", f"{OPERATION}`per` and `most` of its charge"),
        ("[op(role='king')]", f"{OPERATION}there is no role 'king'; there are viewer, deployer, admin, owner"),
        ("[op(role='viewer', auth=Key('admin'))]", f"{OPERATION}`role` is short for `auth=Key(role)`"),
        ("[op(auth='key')]", f"{OPERATION}its `auth` must be Key, Operator or Public, not 'key'"),
        ("[op(auth=Operator(), charge=PerCall('a'))]", f"{OPERATION}only a call with a key can be billed"),
        ("[op(auth=Operator(''))]", f"{OPERATION}`customer` must be the name of a field"),
        ("[op(auth=Public(0))]", f"{OPERATION}its `per_minute` may be between 1 and 100000, not 0"),
        ("[op(timeout_s=0)]", f"{OPERATION}its `timeout_s` may be up to 86400 s, not 0"),
        ("[op(timeout_s='1')]", f"{OPERATION}its `timeout_s` may be up to 86400 s, not '1'"),
        ("[op(method='get')]", f"{OPERATION}there is no method 'get'; there are GET, POST, PUT, PATCH, DELETE"),
        ("[op(path='a')]", f"{OPERATION}its path must begin with a slash"),
        ("[op(path='/A')]", f"{OPERATION}`A` cannot be a part of its path"),
        ("[op(path='/{id}/{id}', body=Id)]", f"{OPERATION}its path /{{id}}/{{id}} has a parameter twice"),
        ("[op(path='/{id}')]", f"{OPERATION}no field of Nothing takes the parameter `id` of its path"),
        ("[op(body=NoParameter)]", f"{OPERATION}`x` of NoParameter comes from the path, which has no parameter `y`"),
        ("[op(body=FromBody, method='GET')]", f"{OPERATION}`x` of FromBody comes from the body, but GET has none"),
        ("[op(body=FromBody, upload=True)]", f"{OPERATION}`x` of FromBody comes from the body, but that of an upload"),
        ("[op(upload=1)]", f"{OPERATION}`upload` must be true or false, not 1"),
        ("[op(upload=True, method='GET')]", f"{OPERATION}an upload is a POST, PUT or PATCH, not a GET"),
        ("[op(upload=True, auth=Public(1))]", f"{OPERATION}an upload needs a customer"),
        ("[op(upload=True, auth=Operator(None))]", f"{OPERATION}an upload needs a customer"),
        ("[op(body=TwoPlaces)]", f"{OPERATION}`x` of TwoPlaces says more than once where it comes from"),
        ("[op(body=RawText)]", f"{OPERATION}`x` of RawText is a raw body, so its type must be bytes"),
        ("[op(body=RawAndBody)]", f"{OPERATION}RawAndBody has a raw body, so no other field"),
        ("[op(body=ClampedText)]", f"{OPERATION}`x` of ClampedText is clamped, so its type must be int or float"),
        ("[op(body=BadDefault)]", f"{OPERATION}`x` of BadDefault: the default 3 lies outside of 1 to 2"),
        ("[op(aliases='abc')]", f"{OPERATION}`aliases` must be a list, not 'abc'"),
        ("[op(aliases=['A'])]", f"{OPERATION}'A' cannot be an alias"),
        ("[op(aliases=['gateway-chat'])]", f"{OPERATION}the alias `gateway-chat` is an endpoint of the gateway itself"),
        ("[op(aliases=['shared'])]", f"{OPERATION}the alias `shared` belongs to operation `other.a`"),
        ("[op(), op('ping.b', path='/a')]", "operation `ping.b`: POST and the path /a belong to `ping.a`"),
        ("[op(body=Id, path='/{id}'), op('ping.b', body=Id, path='/{id}')]", "POST and the path /{id} belong to `ping.a`"),
        ("[op(aliases=['x']), op('ping.b', aliases=['x'])]", "operation `ping.b`: POST and the alias `x` belong to"),
        ("[op(rate=3)]", f"{OPERATION}`rate` must be a list, not 3"),
        ("[op(rate=[3])]", f"{OPERATION}`rate` must be a Rate, not 3"),
        ("[op(rate=Rate(0, 60))]", f"{OPERATION}its `rate` may be between 1 and"),
        ("[op(rate=Rate(1, 0.5))]", f"{OPERATION}its `rate` may be between 1 and"),
        ("[op(rate=Rate(1, 60, by='me'))]", f"{OPERATION}a rate is by customer or by key, not by 'me'"),
        ("[op(rate=Rate(1, 60), auth=Public(5))]", f"{OPERATION}an operation for everybody has no customer"),
        ("[op(rate=Rate(1, 60, by='key'), auth=Operator())]", f"{OPERATION}an operation for operators has no key"),
        ("[op(at_once=0)]", f"{OPERATION}its `at_once` may be between 1 and"),
        ("[op(at_once=1, auth=Operator())]", f"{OPERATION}`at_once` counts the calls of customers"),
        ("[], jobs=[Job('ping.j', plain, Nothing, free)]", "job `ping.j`: its handler must be an `async def`"),
        ("[], jobs=[Job('ping.j', do, int, free)]", "job `ping.j`: its `payload` must be a subclass of msgspec.Struct"),
        ("[], jobs=[Job('ping.j', do, Nothing, free, admission='key')]", 'job `ping.j`: its `admission` is "call" or'),
        (
            "[], jobs=[Job('ping.j', do, Nothing, PerCall('a'), admission='none')]",
            'job `ping.j`: with `admission="none"` a job must be Free',
        ),
        ("[], jobs=[Job('ping.j', do, Nothing, free, retry=3)]", "job `ping.j`: its `retry` must be a Retry"),
        ("[], schema=3", "`schema` of integration `ping` must name a folder, not 3"),
        ("[], schedules=[Schedule('ping.s', do, 0.1, 'why')]", "schedule `ping.s`: it cannot run more often than"),
        ("[], schedules=[Schedule('ping.s', do, 10, '')]", "schedule `ping.s`: `why_free` must say why it is free"),
        ("[], options=dict", "`options` of integration `ping` must be a subclass of kaixu.plugin.Options"),
    ],
)  # fmt: skip
def test_a_mistake_switches_one_integration_off_with_a_sentence(folder: Folder, what: str, expected: str) -> None:
    folder.write("demo.py", PLUGIN.replace("WHAT", what))
    catalog = folder.build(CONFIG)
    state = catalog.integrations["ping"]
    assert state.state == "failed"
    assert expected in (state.reason or "")
    assert "\n" not in (state.reason or "")
    assert catalog.integrations["other"].state == "on"
    assert list(catalog.operations) == ["other.a"]


@pytest.mark.parametrize(
    "what",
    [
        "[op(handler=functools.partial(two, more=1))]",
        "[op(body=Id, path='/a/{id}'), op('ping.b', path='/a/b'), op('ping.c', method='GET', path='/a/b')]",
        "[op(aliases=['x']), op('ping.b', method='GET', aliases=['x'])]",
        "[op(rate=[Rate(3, 60), Rate(100, 86400)], at_once=5, auth=Key('admin'))]",
    ],
    ids=["partial", "paths", "alias", "rates"],
)
def test_what_can_be_served_is_on(folder: Folder, what: str) -> None:
    folder.write("demo.py", PLUGIN.replace("WHAT", what))
    state = folder.build(CONFIG).integrations["ping"]
    assert (state.state, state.reason) == ("on", None)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("[], webhooks=[hook('mine', 'shared')]", "webhook `mine` of `ping`: the alias `shared` belongs to webhook"),
        ("[op('shared')]", "operation `ping.a`: the alias `shared` belongs to webhook `events` of `first`"),
        ("[], callbacks=[back('shared')]", "callback `back` of `ping`: the alias `shared` belongs to webhook"),
        ("[op('a')], webhooks=[hook('mine', 'a')]", "webhook alias `a` is that of an operation or callback already"),
        ("[], callbacks=[back('a')], webhooks=[hook('mine', 'a')]", "webhook alias `a` is that of an operation or"),
        ("[], webhooks=[hook('one', 'a'), hook('two', 'a')]", "webhook `a` is registered twice"),
    ],
)
def test_an_alias_of_a_webhook_is_that_of_nobody_else(folder: Folder, what: str, expected: str) -> None:
    folder.write("demo.py", WEBHOOKS.replace("WHAT", what))
    catalog = folder.build("integrations: {first: {plugin: ./demo.py}, ping: {plugin: ./demo.py}}\n")
    assert (catalog.integrations["first"].state, catalog.integrations["ping"].state) == ("on", "failed")
    assert expected in (catalog.integrations["ping"].reason or "")
    folder.write("demo.py", WEBHOOKS.replace("WHAT", "[], webhooks=[hook('events', 'own')]"))
    catalog = folder.build("integrations: {first: {plugin: ./demo.py}, ping: {plugin: ./demo.py}}\n")
    assert catalog.integrations["ping"].state == "on"

"""The HTTP client of the wire against vendors on raw sockets: replies in every framing, and broken ones."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from aiohappyeyeballs import AddrInfoType
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kaixu.metering.connections import WireProgress, open_transport
from kaixu.metering.http_reply import HIGH_WATER, MOST_HEAD_BYTES, MOST_HEADERS
from kaixu.metering.http_resolver import Lookup
from kaixu.metering.http_transport import HttpTransport
from kaixu.plugin.deadline import within
from tests.support.process import free_port
from tests.support.raw_vendor import Line, RawVendor, Talk, raw_vendor, reply


async def answer_of(
    transport: HttpTransport, url: str, method: str = "POST", *, read_s: float | None = 20, content: bytes = b"{}"
) -> tuple[int, bytes]:
    """Status and body of the reply to one request."""
    request = httpx.Request(method, url, content=content, extensions={"timeout": {"connect": 20, "read": read_s}})
    response = await transport.handle_async_request(request)
    try:
        return response.status_code, await response.aread()
    finally:
        await response.aclose()


def saying(*replies: bytes, ends: bool = False) -> Talk:
    """A vendor that answers each request of a connection with the next reply."""

    async def talk(line: Line) -> None:
        for one in replies:
            if not await line.request():
                return
            await line.say(one)
        if not ends:
            await line.gone()

    return talk


async def test_a_request_is_one_piece_with_the_headers_as_given(transport: HttpTransport) -> None:
    seen: list[bytes] = []

    async def talk(line: Line) -> None:
        seen.append(await line.reader.read(65536))
        await line.say(reply())
        await line.gone()

    async with raw_vendor(talk) as vendor:
        url = f"{vendor.url}v1/a%2Fb?q=%7Ex&y#part"
        assert await answer_of(transport, url) == (200, b"fine")
    host = vendor.url[7:-1].encode()
    assert seen == [b"POST /v1/a%2Fb?q=%7Ex&y HTTP/1.1\r\nHost: " + host + b"\r\ncontent-length: 2\r\n\r\n{}"]


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (reply(b"whole"), b"whole"),
        (reply(b""), b""),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n",
            b"abcde",
        ),
        (b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\nx: \x01\n\n5 \r\nabcde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + reply(b"late"), b"late"),
    ],
    ids=["length", "empty", "chunked", "sloppy", "204", "304", "interim"],
)
@pytest.mark.parametrize("step", [1, 1 << 20], ids=["byte by byte", "at once"])
async def test_framings_that_end_by_themselves_leave_the_connection_open(
    said: bytes, body: bytes, step: int, transport: HttpTransport
) -> None:
    async def talk(line: Line) -> None:
        while await line.request():
            for at in range(0, len(said), step):
                await line.say(said[at : at + step])
                await asyncio.sleep(0)

    async with raw_vendor(talk) as vendor:
        for _ in range(3):
            assert (await answer_of(transport, vendor.url))[1] == body
    assert len(vendor.lines) == 1


async def test_a_body_may_end_with_the_connection(transport: HttpTransport) -> None:
    said = b"HTTP/1.1 200 OK\r\n\r\nuntil the end"
    async with raw_vendor(saying(said, ends=True)) as vendor:
        assert await answer_of(transport, vendor.url) == (200, b"until the end")
        assert await answer_of(transport, vendor.url) == (200, b"until the end")
    assert len(vendor.lines) == 2


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_a_reply_to_head_has_no_body(said: bytes, transport: HttpTransport) -> None:
    async with raw_vendor(saying(said, said)) as vendor:
        assert await answer_of(transport, vendor.url, "HEAD") == (200, b"")
        assert await answer_of(transport, vendor.url, "HEAD") == (200, b"")


@pytest.mark.parametrize(
    "said",
    [
        reply(b"fine", b"connection: close"),
        b"HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nfine",
        reply() + b"HTTP/1.1 ",
        reply() + reply(b"nobody's"),
        reply() + b"\0\0",
    ],
    ids=["says so", "HTTP/1.0", "part of a second reply", "a second reply", "rubbish after it"],
)
async def test_a_connection_that_cannot_go_on_is_not_used_again(said: bytes, transport: HttpTransport) -> None:
    async with raw_vendor(saying(said, said)) as vendor:
        assert await answer_of(transport, vendor.url) == (200, b"fine")
        assert await answer_of(transport, vendor.url) == (200, b"fine")
    assert len(vendor.lines) == 2


async def test_a_request_that_asks_for_the_end_of_the_connection_gets_it(transport: HttpTransport) -> None:
    closed = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.request()
        await line.say(reply())
        await line.gone()
        closed.set()

    async with raw_vendor(talk) as vendor:
        request = httpx.Request("GET", vendor.url, headers={"connection": "close"})
        await (await transport.handle_async_request(request)).aread()
        await closed.wait()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + bytes([65]) * MOST_HEAD_BYTES + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (MOST_HEADERS + 1) + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_HEAD_BYTES // 8),
    ],
    ids=[
        "nothing",
        "half a line",
        "nonsense",
        "another protocol",
        "two lengths",
        "length and chunks",
        "a negative length",
        "a long header",
        "many headers",
        "interim replies without end",
    ],
)
async def test_a_reply_that_is_not_one_is_an_error(said: bytes, transport: HttpTransport) -> None:
    async with raw_vendor(saying(said, ends=True)) as vendor:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await answer_of(transport, vendor.url)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nbegun",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n0\r\nx: " + b"y" * 2 * MOST_HEAD_BYTES,
    ],
    ids=["length", "chunked", "not a chunk", "endless trailers"],
)
async def test_a_body_that_breaks_off_gives_what_came_and_then_an_error(said: bytes, transport: HttpTransport) -> None:
    async with raw_vendor(saying(said, ends=True)) as vendor:
        response = await transport.handle_async_request(httpx.Request("POST", vendor.url))
        got: list[bytes] = []

        async def read() -> None:
            async for piece in response.aiter_bytes():
                got.append(piece)

        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await read()
    assert b"".join(got) == b"begun"


async def test_headers_read_as_those_of_httpx(transport: HttpTransport) -> None:
    said = reply(b"", b"X-Twice: a", b"x-twice: b", "X-Name: Zoë".encode(), b"X-Empty:")
    async with raw_vendor(saying(said)) as vendor:
        headers = (await transport.handle_async_request(httpx.Request("GET", vendor.url))).headers
    assert headers == httpx.Headers(headers.raw)
    got = [headers.get(name) for name in ("x-TWICE", "X-Name", "x-empty", "nowhere")]
    assert got == ["a, b", "Zoë", "", None]
    assert (headers["x-name"], headers.get_list("x-twice"), "x-empty" in headers) == ("Zoë", ["a", "b"], True)


@pytest.mark.parametrize("at", ["header", "name", "method"])
@pytest.mark.parametrize("end", ["\r\n", "\r", "\n", "\0"], ids=["CRLF", "CR", "LF", "NUL"])
async def test_nothing_can_be_smuggled_into_a_head(at: str, end: str, transport: HttpTransport) -> None:
    bad = f"secret{end}x: y"
    headers = {"header": {"x": bad}, "name": {bad: "x"}}.get(at, {})
    async with raw_vendor(saying(reply())) as vendor:
        request = httpx.Request("GET" if headers else bad, vendor.url, headers=headers)
        with pytest.raises(httpx.LocalProtocolError) as raised:
            await transport.handle_async_request(request)
    assert (vendor.lines, "secret" in str(raised.value)) == ([], False)


@pytest.mark.parametrize("lengths", [["3"], ["x"], ["2", "2"]], ids=["wrong", "no number", "two"])
async def test_a_wrong_length_is_not_sent(lengths: list[str], transport: HttpTransport) -> None:
    headers = [("content-length", one) for one in lengths]
    async with raw_vendor(saying(reply())) as vendor:
        with pytest.raises(httpx.LocalProtocolError):
            await transport.handle_async_request(httpx.Request("POST", vendor.url, headers=headers, content=b"{}"))
    assert vendor.lines == []


async def test_a_name_and_password_of_the_url_are_sent_as_its_authorization(transport: HttpTransport) -> None:
    heads: list[bytes] = []

    async def talk(line: Line) -> None:
        heads.append(await line.request())
        await line.say(reply())
        await line.gone()

    async with raw_vendor(talk) as vendor:
        await answer_of(transport, vendor.url.replace("//", "//me:p%40ss@"))
    assert b"\r\nauthorization: Basic bWU6cEBzcw==\r\n" in heads[0]


async def test_a_vendor_that_is_silent_is_not_waited_for(transport: HttpTransport) -> None:
    gone = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.request()
        if line.number > 1:
            await line.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun")
        await line.gone()
        gone.set()

    async with raw_vendor(talk) as vendor:
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                await answer_of(transport, vendor.url, read_s=0.1)
            await gone.wait()
            gone.clear()


async def test_each_byte_begins_the_limit_anew(transport: HttpTransport) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        said = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        for byte in said:
            await line.say(bytes([byte]))
            await asyncio.sleep(0.02)
        await line.gone()

    async with raw_vendor(talk) as vendor:
        assert await answer_of(transport, vendor.url, read_s=0.8) == (200, b"x")


async def test_a_caller_s_deadline_closes_the_connection(transport: HttpTransport) -> None:
    gone = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.request()
        await line.gone()
        gone.set()

    async with raw_vendor(talk) as vendor:
        with pytest.raises(TimeoutError), within(0.05):
            await answer_of(transport, vendor.url)
        await gone.wait()


async def test_leaving_a_body_early_closes_the_connection_unless_all_of_it_came(transport: HttpTransport) -> None:
    gone = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun")
        await line.gone()
        gone.set()

    async with raw_vendor(talk) as vendor:
        response = await transport.handle_async_request(httpx.Request("POST", vendor.url))
        await response.aclose()
        await gone.wait()
    async with raw_vendor(saying(reply(), reply())) as vendor:
        for _ in range(2):
            response = await transport.handle_async_request(httpx.Request("POST", vendor.url))
            await asyncio.sleep(0)
            await response.aclose()
        assert len(vendor.lines) == 1


async def test_what_nobody_reads_is_not_taken_from_the_vendor(transport: HttpTransport) -> None:
    size, sent = 64 * 1024 * 1024, 0

    async def talk(line: Line) -> None:
        nonlocal sent
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            await line.say(bytes(65536))
            sent += 65536
        await line.gone()

    async with raw_vendor(talk) as vendor:
        response = await transport.handle_async_request(httpx.Request("POST", vendor.url))
        before = -1
        while before != sent:  # until the sockets are full
            before = sent
            for _ in range(100):
                await asyncio.sleep(0.002)
        assert sent < size
        got = largest = 0
        async for piece in response.aiter_bytes():
            got += len(piece)
            largest = max(largest, len(piece))
        assert (got, largest <= 3 * HIGH_WATER) == (size, True)
        assert idle_connections(transport) == 1


def idle_connections(transport: HttpTransport) -> int:
    """How many connections are idle."""
    return sum(len(idle) for idle in transport.pool.idle.values())


async def test_closing_it_ends_what_is_under_way(transport: HttpTransport) -> None:
    has_it = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.request()
        has_it.set()
        await line.gone()

    async with raw_vendor(talk) as vendor:
        sending = asyncio.ensure_future(answer_of(transport, vendor.url))
        await has_it.wait()
        await transport.aclose()
        with pytest.raises(httpx.ReadError):
            await sending
        with pytest.raises(httpx.ConnectError):
            await answer_of(transport, vendor.url)


async def test_a_redirect_and_a_compressed_body_come_as_they_are(transport: HttpTransport) -> None:
    said = reply(b"\x1f\x8b", b"location: /x", b"content-encoding: gzip", b"set-cookie: a=b", status=b"302 Found")
    async with raw_vendor(saying(said, reply())) as vendor:
        response = await transport.handle_async_request(httpx.Request("GET", vendor.url))
        assert (response.status_code, [piece async for piece in response.aiter_bytes()]) == (302, [b"\x1f\x8b"])
        assert await answer_of(transport, vendor.url) == (200, b"fine")


async def test_nobody_there_is_told_apart_from_what_broke(transport: HttpTransport) -> None:
    progress = WireProgress()
    url = f"http://127.0.0.1:{free_port()}/"
    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(httpx.Request("GET", url, extensions={"progress": progress}))
    assert progress.connecting
    with pytest.raises(httpx.UnsupportedProtocol):
        await transport.handle_async_request(httpx.Request("GET", "ftp://127.0.0.1/"))


def looked_up(*addresses: str) -> Lookup:
    """Every name has these addresses."""

    async def look_up(host: str, port: int) -> list[AddrInfoType]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (one, port)) for one in addresses]

    return look_up


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with raw_vendor(saying(reply())) as vendor:
        transport = open_transport(looked_up("127.0.0.2", "127.0.0.3", "127.0.0.1"))
        port = httpx.URL(vendor.url).port
        assert await answer_of(transport, f"http://many.example:{port}/") == (200, b"fine")
        await transport.aclose()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `vendor.example`, with its key; it has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vendor.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("vendor.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def tls_vendor(certificate: Path) -> AsyncIterator[tuple[RawVendor, list[str | None]]]:
    """A vendor that speaks TLS, and the names that it was asked for."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    async with raw_vendor(saying(reply(), reply()), context) as vendor:
        yield vendor, names


async def test_tls_verifies_the_name(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with tls_vendor(certificate) as (vendor, names):
        transport = open_transport(looked_up("127.0.0.1"))
        port = httpx.URL(vendor.url).port
        for _ in range(2):
            assert await answer_of(transport, f"https://vendor.example:{port}/") == (200, b"fine")
        with pytest.raises(httpx.ConnectError):
            await answer_of(transport, f"https://other.example:{port}/")
        request = httpx.Request("GET", f"https://127.0.0.1:{port}/", extensions={"sni_hostname": "vendor.example"})
        assert (await transport.handle_async_request(request)).status_code == 200
        await transport.aclose()
    assert names == ["vendor.example", "other.example", "vendor.example"]


async def test_tls_with_an_unknown_certificate_is_refused(certificate: Path) -> None:
    async with tls_vendor(certificate) as (vendor, _):
        transport = open_transport(looked_up("127.0.0.1"))
        with pytest.raises(httpx.ConnectError):
            await answer_of(transport, f"https://vendor.example:{httpx.URL(vendor.url).port}/")
        await transport.aclose()

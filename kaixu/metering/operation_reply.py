"""What a handler returns, checked and encoded. A wrong reply is a bug of the plugin: `TypeError` or `ValueError`."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from kaixu.plugin.replies import Bytes, Events, Page, Redirect, Reply, StreamItem, Text

from .callbacks import BrowserCookie

JSON = "application/json; charset=utf-8"

HEADER_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
CONTENT_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+(; ?[a-z0-9-]+=[A-Za-z0-9._-]+)*")
EVENT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
MOST_HEADERS = 20
MOST_HEADER_NAME = 64
MOST_HEADER_VALUE = 2000
MOST_TITLE = 200
MOST_PAGE_TEXT = 10_000
MOST_URL = 4000
MOST_FILE_NAME = 200

#: Headers that are the gateway's: the frame of the message, cookies, and what browsers are told about security.
OWN_HEADERS = frozenset(
    {
        "connection", "content-length", "content-encoding", "content-type", "content-disposition", "transfer-encoding",
        "date", "server", "set-cookie", "keep-alive", "upgrade", "trailer", "te", "vary", "location", "refresh",
        "content-security-policy", "strict-transport-security", "x-content-type-options", "x-frame-options",
        "request-id", "x-request-id", "www-authenticate", "alt-svc", "clear-site-data", "link",
        "service-worker-allowed", "allow",
    }
)  # fmt: skip
OWN_PREFIXES = ("access-control-", "x-kaixu-", "x-ratelimit-", "cross-origin-", "proxy-")

#: For files that a browser may show: whatever they contain, no script of theirs runs as the gateway's own.
SANDBOX = {"content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"}


class EncodedReply(msgspec.Struct, frozen=True):
    """A reply: its body, or the page or the events that it is made of. `cookie`: marks the browser that it goes to."""

    status: int
    headers: dict[str, str]
    body: bytes | Page | Events
    cookie: BrowserCookie | None = None


def encode_reply(value: object) -> EncodedReply:
    """The reply of a handler. Raises `TypeError`, `ValueError`."""
    match value:
        case Events():
            if not hasattr(value.stream, "__anext__"):
                raise TypeError(f"Events takes an async generator, not {value.stream!r:.80}")
            return EncodedReply(200, {}, value)
        case Page(title, text, link, status):
            if not title or len(title) > MOST_TITLE or len(text) > MOST_PAGE_TEXT:
                raise ValueError(
                    f"a page has a title of up to {MOST_TITLE} and a text of up to {MOST_PAGE_TEXT} letters"
                )
            if link is not None:
                require_address(link.url)
            return EncodedReply(require_status(status), {}, value)
        case Redirect(url, status):
            if status not in (301, 302, 303, 307, 308):
                raise ValueError(f"{status} is not the status of a redirect")
            return EncodedReply(status, {"location": require_address(url), "cache-control": "no-store"}, b"")
        case Text(text, status):
            return EncodedReply(require_status(status), {"content-type": "text/plain; charset=utf-8"}, text.encode())
        case Bytes():
            return encode_file(value)
        case Reply(body, status, headers):
            given = checked_headers(headers)
            if body is None:
                return EncodedReply(204 if status == 204 else require_status(status), given, b"")
            if not isinstance(body, msgspec.Struct):
                raise TypeError(f"the body of a reply must be a msgspec.Struct, not {body!r:.80}")
            return EncodedReply(require_status(status), {"content-type": JSON} | given, msgspec.json.encode(body))
        case msgspec.Struct():
            return EncodedReply(200, {"content-type": JSON}, msgspec.json.encode(value))
        case _:
            raise TypeError(f"a handler returns a msgspec.Struct or a reply, not {value!r:.80}")


def encode_file(file: Bytes) -> EncodedReply:
    """The reply of a file."""
    if not CONTENT_TYPE.fullmatch(file.content_type):
        raise ValueError(f"{file.content_type!r:.80} is not a content type")
    if not isinstance(file.data, bytes | bytearray | memoryview):
        raise TypeError(f"the data of a file must be bytes, not {type(file.data).__name__}")
    headers = {"content-type": file.content_type} | SANDBOX
    if file.file_name is not None:
        if not file.file_name or len(file.file_name) > MOST_FILE_NAME:
            raise ValueError(f"the name of a file has up to {MOST_FILE_NAME} characters")
        headers["content-disposition"] = disposition(file.file_name)
    return EncodedReply(require_status(file.status), headers, bytes(file.data))


def disposition(name: str) -> str:
    """`content-disposition` for a name (RFC 6266 §4.3): in ASCII, and whole in UTF-8 where that is not enough."""
    ascii_only = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    whole = "".join(chr(one) if chr(one) in SAFE else f"%{one:02X}" for one in name.encode("utf-8", "replace"))
    plain = f'attachment; filename="{ascii_only}"'
    return plain if ascii_only == name else f"{plain}; filename*=UTF-8''{whole}"


SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def require_status(status: int) -> int:
    """Raises `ValueError` for a status that a reply with a body cannot have."""
    is_number = isinstance(status, int) and not isinstance(status, bool)
    if not is_number or not 200 <= status <= 599 or status in (204, 205, 304):
        raise ValueError(f"a reply with a body cannot have the status {status!r:.40}")
    return status


def require_address(url: str) -> str:
    """Raises `ValueError` for anything but a path of this gateway or an https URL."""
    is_path = url.startswith("/") and not url.startswith(("//", "/\\"))
    if len(url) > MOST_URL or not re.fullmatch(r"[\x21-\x7e]+", url) or not (is_path or url.startswith("https://")):
        raise ValueError(f"{url!r:.120} is neither a path of this gateway nor an https URL")
    return url


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A reply's own headers, with names in lower case. Raises `ValueError`."""
    if len(headers) > MOST_HEADERS:
        raise ValueError(f"a reply has at most {MOST_HEADERS} headers of its own")
    checked = {}
    for given, value in headers.items():
        name = given.lower()
        if len(name) > MOST_HEADER_NAME or not HEADER_NAME.fullmatch(name):
            raise ValueError(f"{given!r:.80} is not a name of a header")
        if name in OWN_HEADERS or name.startswith(OWN_PREFIXES):
            raise ValueError(f"the header `{name}` is set by the gateway only")
        if not isinstance(value, str) or len(value) > MOST_HEADER_VALUE or not HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the header `{name}` has a value that cannot be sent")
        checked[name] = value
    return checked


def encode_item(item: StreamItem) -> tuple[str | None, bytes]:
    """The name of an event, and its data as JSON. Raises `TypeError`, `ValueError`."""
    name, data = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
    if not isinstance(data, msgspec.Struct):
        raise TypeError(f"a stream yields Structs, or names with Structs, not {item!r:.80}")
    if name is not None and not EVENT_NAME.fullmatch(name):
        raise ValueError(f"{name!r:.80} is not a name of an event")
    return name, msgspec.json.encode(data)

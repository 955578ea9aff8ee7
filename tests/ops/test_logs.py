"""The log: two formats, one thread that writes, repeated errors limited, nothing secret."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kaixu.ops.access_log import AccessLog
from kaixu.ops.call_facts import CallFacts, Try
from kaixu.ops.log_format import LogFormat
from kaixu.ops.log_limit import MAX_EQUAL, WINDOW_S, RepeatLimit
from kaixu.ops.logs import REQUEST_ID, LogWriter, QueueingHandler
from kaixu.ops.request_end import RequestEnd, shown_path
from kaixu.plugin.errors import UpstreamError

Log = Callable[[LogFormat], tuple[logging.Logger, LogWriter, io.StringIO]]


@pytest.fixture
def open_log() -> Iterator[Log]:
    """A logger whose lines go to a text."""
    logger = logging.getLogger("kaixu.test_logs")
    logger.propagate = False

    def open_one(log_format: LogFormat) -> tuple[logging.Logger, LogWriter, io.StringIO]:
        out = io.StringIO()
        writer = LogWriter(out, log_format)
        logger.handlers = [QueueingHandler(writer)]
        logger.setLevel(logging.INFO)
        return logger, writer, out

    yield open_one
    for handler in logger.handlers:
        handler.close()
    logger.handlers = []


def test_json_lines_have_time_level_logger_request_and_exception(open_log: Log) -> None:
    logger, writer, out = open_log("json")
    token = REQUEST_ID.set("request-7")
    try:
        logger.warning("job %s: %s", 7, "two\nlines")
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        logger.exception("it failed")
    finally:
        REQUEST_ID.reset(token)
    writer.close()
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert first | {"timestamp": ""} == {
        "timestamp": "",
        "level": "warning",
        "logger": "kaixu.test_logs",
        "event": "job 7: two\nlines",
        "request_id": "request-7",
    }
    assert second["level"] == "error"
    assert second["exception"].endswith("ZeroDivisionError: by zero")


def test_text_lines_are_readable_and_cannot_be_forged(open_log: Log) -> None:
    logger, writer, out = open_log("text")
    logger.error("the path \x1b[31m of %s\r", "somebody")
    writer.close()
    line = out.getvalue()
    assert line.endswith(" ERROR kaixu.test_logs: the path \\x1b[31m of somebody\\x0d\n")


def test_equal_errors_are_logged_a_few_times_and_then_counted(open_log: Log) -> None:
    logger, writer, out = open_log("text")
    for number in range(1234 + MAX_EQUAL):
        logger.warning("the database does not answer: try %d", number)
    logger.warning("another text")
    for _ in range(100):
        logger.info("as often as it likes")
    writer.close()
    lines = out.getvalue().splitlines()
    tries = [line for line in lines if "does not answer" in line]
    assert len(tries) == MAX_EQUAL + 1
    assert "and 1,234 more within 60 s, the last one: the database does not answer: try 1238" in tries[-1]
    assert sum("as often" in line for line in lines) == 100
    assert sum("another text" in line for line in lines) == 1


def test_a_new_minute_logs_again_and_tells_what_the_last_one_left_out() -> None:
    now = 0.0
    limit = RepeatLimit(clock=lambda: now)
    record = logging.LogRecord("n", logging.ERROR, __file__, 1, "failed %d", (1,), None)
    passed = [limit.passes(record) for _ in range(MAX_EQUAL + 3)]
    assert passed == [True] * MAX_EQUAL + [False] * 3
    assert limit.summaries() == []
    now = WINDOW_S
    [summary] = limit.summaries()
    assert summary.getMessage() == "and 3 more within 60 s, the last one: failed 1"
    assert limit.passes(record)


def test_errors_of_different_places_are_different(open_log: Log) -> None:
    logger, writer, out = open_log("text")
    broken: list[Callable[[], object]] = [lambda: {"b": 1}["a"], lambda: [1][1]]
    for one in broken * (MAX_EQUAL + 1):
        try:
            one()
        except LookupError:
            logger.exception("request failed")
    writer.close()
    assert out.getvalue().count("KeyError") == MAX_EQUAL
    assert out.getvalue().count("IndexError") == MAX_EQUAL


def test_a_log_that_cannot_be_written_drops_lines_and_tells_how_many() -> None:
    stuck, written = threading.Event(), threading.Event()

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            written.set()
            stuck.wait()
            return super().write(text)

    out = Slow()
    writer = LogWriter(out, "text", max_waiting=10)
    writer.put(lambda: "first")
    written.wait()
    for number in range(25):
        writer.put(lambda number=number: f"line {number}")  # type: ignore[misc]
    assert writer.dropped_in_all == 15
    stuck.set()
    writer.close()
    assert "line 9\n" in out.getvalue()
    assert "line 10\n" not in out.getvalue()
    assert "15 lines were dropped" in out.getvalue()


def a_failed_call() -> RequestEnd:
    """The record of a call that a vendor refused."""
    facts = CallFacts(app_id="shop", build_id="7", customer_id=3, key_id=4, key_last4="ab12", provider="up", model="m")
    facts.tries = [Try("main", 0, 5, "UPSTREAM_ERROR", 500), Try("spare", 5, 7, "UPSTREAM_ERROR", 401)]
    error = UpstreamError("the vendor refuses our key")
    error.upstream_status, error.vendor_words = 401, "bad key"
    facts.failed(error)
    path = shown_path("/api/gateway-chat/kx_live_0123456789abcdef\n")
    return RequestEnd("r1", "POST", path, "gateway-chat", 502, 12, 213, 98, False, facts, ip_hash="8f3a")


def written(end: RequestEnd, log_format: LogFormat) -> str:
    """The line of a request."""
    out = io.StringIO()
    writer = LogWriter(out, log_format)
    AccessLog(writer, log_format)(end)
    writer.close()
    return out.getvalue()


def test_an_access_line_tells_who_where_and_why_but_nothing_secret() -> None:
    fields: dict[str, Any] = json.loads(written(a_failed_call(), "json"))
    del fields["timestamp"]
    assert fields == {
        "level": "warning",
        "logger": "kaixu.access",
        "event": "request",
        "request_id": "r1",
        "method": "POST",
        "path": "/api/gateway-chat/kx_…\\x0a",
        "status": 502,
        "ms": 12,
        "bytes_in": 213,
        "bytes_out": 98,
        "customer_id": 3,
        "key_id": 4,
        "key_last4": "ab12",
        "provider": "up",
        "model": "m",
        "deployment": "spare",
        "tries": 2,
        "error_code": "UPSTREAM_ERROR",
        "upstream_status": 401,
        "app": "shop",
        "build": "7",
        "client": "8f3a",
    }
    line = written(a_failed_call(), "text")
    assert line.partition(" ")[2] == (
        "WARNING kaixu.access: POST /api/gateway-chat/kx_…\\x0a 502 12 ms 213/98 B customer 3 key …ab12 up/m at spare "
        "2 tries UPSTREAM_ERROR (vendor: 401) app shop 7 from 8f3a [request r1]\n"
    )

"""The reference part of the integration page: endpoints, the events of a stream, what a client does about errors."""

from __future__ import annotations

from kaixu.web.components import Card, Code, Column, Prose, Row, Snippet, Table

ENDPOINTS = (
    ("POST", "/api/gateway-chat", "a chat, answered as a whole"),
    ("POST", "/api/gateway-stream", "a chat, answered as server-sent events"),
    ("POST", "/api/gateway-embed", "texts into vectors, stored if you name a collection"),
    ("POST", "/api/gateway-embed-search", "a question to a collection; the query is embedded with its model"),
    ("GET, POST, PATCH, DELETE", "/api/gateway-embed-collections", "collections and their documents; import, export"),
    ("POST", "/v1/chat/completions, /v1/responses", "for OpenAI's SDKs and everything compatible"),
    ("POST", "/v1/embeddings", "for OpenAI's SDKs"),
    ("POST", "/v1/messages", "for Anthropic's SDKs"),
    ("GET", "/v1/models", "the models of the key, with their prices"),
    ("GET", "/api/user-summary, /api/user-events", "what the key has spent and what is left; its calls"),
    ("POST", "/api/session-token", "a token for browsers, valid for a while, instead of the key"),
    ("POST", "/api/client-error-report", "errors of your program to the operator's monitor; needs no key"),
    ("GET", "/api/health", "whether the gateway serves; needs no key"),
)

EVENTS = (
    ("meta", "at once, before the model answers: provider, model, and the month with caps and spending"),
    ("delta", "a piece of the answer: text, or reasoning, or tool_calls by their index"),
    ("ping", "after at most 15 seconds of silence, so that nothing closes the connection"),
    ("done", "the end: usage with the exact cost, routing, the month after it. The bill is stored by then"),
    ("error", "instead of done: code, error, hint, and the status that it would have had"),
)

STREAM = """event: meta
data: {"provider":"PROVIDER","model":"MODEL","month":{"month":"2026-11","cap_cents":2000,"spent_cents":12}}

event: delta
data: {"text":"Rome"}

event: done
data: {"usage":{"input_tokens":14,"output_tokens":9,"cost_usd":"0.000048"},"end":"complete"}
"""

ANSWERS = (
    ("401", "the key is wrong, revoked or expired", "ask for another key; do not try again"),
    ("402", "a cap is reached", "stop until it is raised, topped up, or the month begins"),
    ("403", "the key may not use this model, or the device has no seat", "use what it may, or ask"),
    ("429", "too many calls", "wait as long as retry-after says"),
    ("5xx", "the gateway or a vendor failed", "try again, each time after a longer wait"),
)


def reference_cards(model: str) -> list[Card]:
    """All of it. `model`: one that the reader may use."""
    return [
        Card("Endpoints", [endpoint_table()], subtitle="Each /api path is also served as /.netlify/functions/NAME."),
        Card("Events of a stream", [event_table(), Snippet(stream_of(model), title="A stream", language="SSE")]),
        Card("Errors", [answer_table(), errors_prose()]),
    ]


def stream_of(model: str) -> str:
    """A stream as it is sent, shortened."""
    provider, _, name = model.partition("/")
    return STREAM.replace("PROVIDER", provider or "provider").replace("MODEL", name or "model")


def endpoint_table() -> Table:
    """The endpoints."""
    columns = [Column(title="Method"), Column(title="Path"), Column(title="What for", wide=True)]
    rows = [Row(cells=[method, Code(path), text]) for method, path, text in ENDPOINTS]
    return Table(id="endpoints", caption="Endpoints", columns=columns, rows=rows)


def event_table() -> Table:
    """The events."""
    rows = [Row(cells=[Code(name), text]) for name, text in EVENTS]
    columns = [Column(title="Event"), Column(title="Meaning", wide=True)]
    return Table(id="events", caption="Events", columns=columns, rows=rows)


def answer_table() -> Table:
    """What a client does about an error."""
    columns = [
        Column(title="Status"),
        Column(title="Because", wide=True),
        Column(title="What a program does", wide=True),
    ]
    rows = [Row(cells=[status, why, what]) for status, why, what in ANSWERS]
    return Table(id="answers", caption="Statuses", columns=columns, rows=rows)


def errors_prose() -> Prose:
    """The shape of errors, and how to be found."""
    return Prose(
        tip=True,
        paragraphs=[
            "Every error has error, code, hint and request_id. Programs should look at code: sentences may change. "
            "Under /v1 errors have the shape that the SDKs expect, so their exceptions work.",
            "Send x-kaixu-app with the name of your program and x-kaixu-build with its version: usage and the "
            "operator's monitor can then be seen by app. Errors that happen before a request arrives can be reported "
            "to client-error-report.",
        ],
    )

"""The page of integration, for an operator's customer and for a customer: programs, and the reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.web.addresses import gateway_url
from kaixu.web.components import Card, Code, Facts, Field, Form, Notice, Option, Page, Part, Prose, Snippet
from kaixu.web.playground.form import models_table, name_of
from kaixu.web.visits import Visit

from .examples import Place, chat_request, examples
from .reference import reference_cards


def integration_page(
    visit: Visit, models: Sequence[Mapping[str, Any]], *, subtitle: str, before: Sequence[Part] = ()
) -> Page:
    """The page. `models`: those that the reader may use. `before`: what stands above."""
    chats = [name_of(one) for one in models if one["kaixu"]["type"] == "chat"]
    embeds = [name_of(one) for one in models if one["kaixu"]["type"] == "embed"]
    place = Place(gateway_url(visit), chosen(visit, "chat", chats), chosen(visit, "embed", embeds))
    parts: list[Part] = [*before, Facts(facts(place))]
    if chats or embeds:
        parts.append(model_form(visit, place, chats, embeds))
    if not chats:
        parts.append(Notice(state="warn", text="There is no chat model to show examples with.", hint=NO_MODEL))
    found = examples(place)
    for group in dict.fromkeys(one.group for one in found):
        snippets = [
            Snippet(one.code, title=one.title, language=one.language, hint=one.hint)
            for one in found
            if one.group == group
        ]
        parts.append(Card(group, snippets, open=group == "curl", id=group.split("'")[0].lower()))
    parts.append(
        Card("The normalized request", [Snippet(request_text(place), title="Chat", language="JSON"), about_fields()])
    )
    parts += reference_cards(place.chat)
    if models:
        parts.append(Card("Models and prices", [models_table(models)], open=False))
    return Page(title="Integration", subtitle=subtitle, parts=parts)


NO_MODEL = "A model needs a lane that is on, a price, and the allowlists of the customer and of the key."


def chosen(visit: Visit, name: str, models: Sequence[str]) -> str:
    """The model that was chosen, or the first."""
    given = visit.query.get(name, "")
    return given if given in models else models[0] if models else ""


def facts(place: Place) -> list[tuple[str, Any]]:
    """What every client needs."""
    return [
        ("Address", Code(place.url, copy=True)),
        ("For OpenAI's SDKs", Code(f"{place.url}/v1", copy=True)),
        ("For Anthropic's SDKs", Code(place.url, copy=True)),
        ("Credential", Code("Authorization: Bearer kx_live_…")),
        ("In the examples", "put the key into the environment variable KAIXU_KEY"),
    ]


def model_form(visit: Visit, place: Place, chats: Sequence[str], embeds: Sequence[str]) -> Form:
    """The models of the examples."""
    fields = []
    for name, label, models, value in (
        ("chat", "Chat model", chats, place.chat),
        ("embed", "Embedding model", embeds, place.embed),
    ):
        if models:
            options = [Option(one, one) for one in models]
            fields.append(Field(name=name, label=label, type="select", options=options, value=value))
    hidden = {"customer_id": str(visit.customer_id)} if visit.customer_id is not None else {}
    return Form(
        action=visit.path, method="get", inline=True, submit="Show", id="models-form", hidden=hidden, fields=fields
    )


def request_text(place: Place) -> str:
    """The request of a chat, to read."""
    return json.dumps(chat_request(place.chat or "provider/model"), indent=2)


def about_fields() -> Prose:
    """What the fields mean."""
    return Prose(
        paragraphs=["The same body for gateway-chat and gateway-stream, whichever vendor answers:"],
        items=[
            "model is provider/model; provider may also stand in a field of its own.",
            "max_tokens is lowered to the model's maximum and to what the month has left; the reply says so.",
            "tools, tool_choice, response_format, seed, stop, top_p and reasoning_effort are those of OpenAI's API. "
            "What a model cannot do is refused by name.",
            "retrieve with a collection lets the model answer from your own texts, with citations.",
        ],
    )

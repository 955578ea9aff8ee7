"""The form of the playground: a model, messages and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from kaixu.web.components import Column, Field, Form, Money, Option, Row, Table

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

#: The body of a page without a credential is at most 64 KiB, and a character may take three bytes of a form.
MOST_MESSAGE, MOST_JSON = 8_000, 4_000

EXAMPLE_TOOL = (
    '[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", '
    '"properties": {"city": {"type": "string"}}}}}]'
)


def playground_form(action: str, models: Sequence[Mapping[str, Any]], hidden: Mapping[str, str], *, pays: str) -> Form:
    """The form. `models`: as `GET /v1/models` has them. `pays`: who pays for the call."""
    chats = [one for one in models if one["kaixu"]["type"] == "chat"]
    options = [option_of(one) for one in chats]
    efforts = [Option("", "not set"), *(Option(one, one) for one in EFFORTS)]
    formats = [Option("", "text"), Option("json_object", "a JSON object"), Option("json_schema", "JSON by a schema")]
    return Form(
        id="playground",
        action=action,
        hidden=hidden,
        submit="Send",
        hint=pays,
        fields=[
            Field(name="model", label="Model", type="select", options=options, required=True,
                  hint="Prices are USD per million tokens, as this key pays them: input, then output."),
            Field(name="second_model", label="Compare with", type="select", options=[Option("", "none"), *options],
                  hint="The same question to another model. Both calls are billed."),
            Field(name="system", label="System", type="textarea", rows=2, maxlength=MOST_MESSAGE,
                  placeholder="You answer in one sentence."),
            Field(name="message", label="Message", type="textarea", rows=5, required=True, maxlength=MOST_MESSAGE,
                  value="What is the capital of Italy?"),
            Field(name="only_code", label="Do not send it: show it as curl and Python", type="checkbox", wide=True),
        ],
        more_title="Parameters, tools, format, conversation",
        more=[
            Field(name="max_tokens", label="Max tokens", type="number", min="1", step="1", placeholder="1024",
                  hint="Lowered to the model's maximum and to what the month has left."),
            Field(name="temperature", label="Temperature", type="number", min="0", max="2", step="0.1",
                  placeholder="the vendor's"),
            Field(name="top_p", label="Top p", type="number", min="0", max="1", step="0.05",
                  placeholder="the vendor's"),
            Field(name="seed", label="Seed", type="number", step="1", placeholder="none"),
            Field(name="reasoning_effort", label="Reasoning effort", type="select", options=efforts,
                  hint="Only for models that reason; others refuse it by name."),
            Field(name="response_format", label="Answer as", type="select", options=formats),
            Field(name="retrieve", label="Answer from a collection", maxlength=120, placeholder="support-docs",
                  hint="Searched for the message; the model gets the passages. The search is billed, too."),
            Field(name="install_id", label="Install id", maxlength=80,
                  hint="Only for keys that ask for one. It takes a device seat of the key."),
            Field(name="stop", label="Stop", type="textarea", rows=2, maxlength=400,
                  hint="Up to four texts, one a line: the answer ends before them."),
            Field(name="tools", label="Tools", type="textarea", rows=3, maxlength=MOST_JSON, placeholder=EXAMPLE_TOOL,
                  hint="A JSON list, as in OpenAI's API. The model's calls are shown, and nothing is executed."),
            Field(name="schema", label="Schema of the answer", type="textarea", rows=3, maxlength=MOST_JSON,
                  placeholder='{"type": "object", "properties": {"capital": {"type": "string"}}}'),
            Field(name="earlier", label="Earlier messages", type="textarea", rows=3, maxlength=MOST_JSON,
                  placeholder='[{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi!"}]',
                  hint="A JSON list that comes before the message, for conversations and results of tools."),
        ],
    )  # fmt: skip


def option_of(model: Mapping[str, Any]) -> Option:
    """A model with its price."""
    return Option(name_of(model), f"{model['kaixu']['model']} · {price_text(model)}", model["kaixu"]["provider"])


def name_of(model: Mapping[str, Any]) -> str:
    """The name that a call uses, whichever providers have a model of that name."""
    return f"{model['kaixu']['provider']}/{model['kaixu']['model']}"


def price_text(model: Mapping[str, Any]) -> str:
    """What a million tokens cost."""
    price = model["kaixu"]["price_usd_per_million_tokens"]
    if all(Decimal(rate) == 0 for rate in price.values()):
        return "free"
    return f"${price['input']} in, ${price['output']} out"


def models_table(models: Sequence[Mapping[str, Any]]) -> Table:
    """What each model costs and can do."""
    rows = []
    for one in models:
        about = one["kaixu"]
        price = about["price_usd_per_million_tokens"]
        supports = ", ".join(about.get("supports", ())) or "text"
        cells = [name_of(one), about["type"], Money(price["input"]), Money(price.get("output")), supports]
        rows.append(Row(cells=[*cells, about.get("max_output_tokens") or about.get("dimensions")]))
    columns = [
        Column(title="Model", wide=True),
        Column(title="Type"),
        Column(title="Input", align="right", hint="USD per million tokens"),
        Column(title="Output", align="right", hint="USD per million tokens"),
        Column(title="Can do"),
        Column(title="Most tokens", align="right", hint="Of an answer; of embedding models, the dimensions"),
    ]
    return Table(id="models", caption="Models of this key", columns=columns, rows=rows)

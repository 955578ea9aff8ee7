"""Chat with a base model, which only continues text: the conversation is a dialogue that stops at the user's turn.

Tried with gemma-3-270m on a dozen questions: without the two examples it
repeats the question; with a description of an assistant instead it forgets
earlier turns; from temperature 0.3 on it guesses ("Italy is the capital of
Italy"). So the prompt has examples, and the default temperature is 0.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from msgspec.structs import replace

from kaixu.plugin import ChatDelta, ChatEvent, ChatRequest, Message, TextPart

#: A Jinja chat template for llama.cpp. System messages come first: later they would look like examples.
TEMPLATE = """\
{%- for message in messages if message.role in ('system', 'developer') -%}
{{ message.content + '\\n\\n' }}
{%- endfor -%}
{{ 'User: Hello!\\nAssistant: Hello! How can I help you?\\n' }}
{{- 'User: What is the capital of France?\\nAssistant: The capital of France is Paris.\\n' }}
{%- for message in messages if message.role not in ('system', 'developer') -%}
{{ ('Assistant: ' if message.role == 'assistant' else 'User: ') + message.content + '\\n' }}
{%- endfor -%}
{{ 'Assistant:' }}"""

STOPS = ("\nUser:", "\nAssistant:")


def for_base_model(request: ChatRequest) -> ChatRequest:
    """`request` for a base model: plain text with stop sequences."""
    messages = tuple(Message(message.role, (TextPart(message.text),)) for message in request.messages)
    temperature = 0.0 if request.temperature is None else request.temperature
    return replace(request, messages=messages, temperature=temperature, stop=(*request.stop, *STOPS))


async def trimmed(answer: AsyncIterator[ChatEvent]) -> AsyncIterator[ChatEvent]:
    """`answer` without the space after "Assistant:"."""
    begun = False
    async with aclosing(answer) as events:  # type: ignore[type-var]
        async for event in events:
            if not begun and isinstance(event, ChatDelta):
                text = event.text.lstrip()
                if not text:
                    continue
                begun = True
                yield ChatDelta(text)
            else:
                yield event

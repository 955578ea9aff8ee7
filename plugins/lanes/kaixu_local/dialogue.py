"""A conversation for a base model, which only continues texts: written down as a dialogue, ended where the user speaks.

Tried with gemma-3-270m on a dozen questions: without the two examples it
repeats the question, with a described assistant instead of them it forgets
earlier turns, and from temperature 0.3 on it guesses ("Italy is the capital of
Italy"). So it is asked with examples and, unless told otherwise, at temperature 0.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from msgspec.structs import replace

from kaixu.plugin import ChatDelta, ChatEvent, ChatRequest, Message, TextPart

#: In Jinja, as llama.cpp's chat templates are. What the system says comes first: later it would pass for an example.
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


def asked(request: ChatRequest) -> ChatRequest:
    """`request` as a base model takes it: plain text, with an end."""
    messages = tuple(Message(message.role, (TextPart(message.text),)) for message in request.messages)
    temperature = 0.0 if request.temperature is None else request.temperature
    return replace(request, messages=messages, temperature=temperature, stop=(*request.stop, *STOPS))


async def trimmed(answer: AsyncIterator[ChatEvent]) -> AsyncIterator[ChatEvent]:
    """`answer` without the blank that follows "Assistant:"."""
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

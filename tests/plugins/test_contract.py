"""The contract tests of all included lanes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from kaixu_anthropic import Anthropic, AnthropicOptions
from kaixu_azure import Azure, AzureOptions
from kaixu_gemini import Gemini, GeminiOptions
from kaixu_openai import OpenAI, OpenAIOptions
from kaixu_voyage import Voyage, VoyageOptions
from pydantic import SecretStr

from kaixu.plugin import Lane, Options, Usage
from kaixu.plugin.testing import Answer, EmbeddingContract, LaneContract, event_stream, json_answer


def named(*events: dict[str, Any]) -> Answer:
    """A stream of events with names, as Anthropic sends them."""
    chunks = [f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in events]
    return Answer(200, {"content-type": "text/event-stream"}, chunks)


class TestOpenAI(LaneContract):
    options: ClassVar[type[Options] | None] = OpenAIOptions

    def lane(self) -> Lane:
        return OpenAI(OpenAIOptions(api_key=SecretStr(self.secret)))

    def says(self, pieces: Sequence[str], usage: Usage) -> Answer:
        return event_stream(
            *({"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {
                "choices": [],
                "usage": {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens},
            },
        )

    def calls(self, name: str, arguments: str) -> Answer:
        half = len(arguments) // 2
        first = {"index": 0, "id": "c1", "type": "function", "function": {"name": name, "arguments": arguments[:half]}}
        second = {"index": 0, "function": {"arguments": arguments[half:]}}
        return event_stream(
            {"choices": [{"index": 0, "delta": {"tool_calls": [first]}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [second]}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
            {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}},
        )


class TestAzure(TestOpenAI):
    options = AzureOptions

    def lane(self) -> Lane:
        return Azure(AzureOptions(endpoint="https://mine.openai.azure.com", api_key=SecretStr(self.secret)))


class TestAnthropic(LaneContract):
    options = AnthropicOptions

    def lane(self) -> Lane:
        return Anthropic(AnthropicOptions.model_validate({"api_key": self.secret}))

    def message(self, usage: Usage, stop: str, *inner: dict[str, Any]) -> Answer:
        start = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": self.model}
        return named(
            {
                "type": "message_start",
                "message": start | {"usage": {"input_tokens": usage.input_tokens, "output_tokens": 1}},
            },
            *inner,
            {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": usage.output_tokens}},
            {"type": "message_stop"},
        )

    def says(self, pieces: Sequence[str], usage: Usage) -> Answer:
        return self.message(
            usage,
            "end_turn",
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
                for piece in pieces
            ),
            {"type": "content_block_stop", "index": 0},
        )

    def calls(self, name: str, arguments: str) -> Answer:
        tool = {"type": "tool_use", "id": "t1", "name": name, "input": {}}
        return self.message(
            Usage(3, 5),
            "tool_use",
            {"type": "content_block_start", "index": 0, "content_block": tool},
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": arguments},
            },
            {"type": "content_block_stop", "index": 0},
        )


class TestGemini(LaneContract):
    options = GeminiOptions

    def lane(self) -> Lane:
        return Gemini(GeminiOptions.model_validate({"api_key": self.secret}))

    def says(self, pieces: Sequence[str], usage: Usage) -> Answer:
        figures = {"promptTokenCount": usage.input_tokens, "candidatesTokenCount": usage.output_tokens}
        return event_stream(
            *({"candidates": [{"content": {"role": "model", "parts": [{"text": piece}]}}]} for piece in pieces),
            {
                "candidates": [{"content": {"role": "model", "parts": []}, "finishReason": "STOP"}],
                "usageMetadata": figures,
            },
            done=False,
        )

    def calls(self, name: str, arguments: str) -> Answer:
        part = {"functionCall": {"name": name, "args": json.loads(arguments)}}
        return event_stream(
            {
                "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 5},
            },
            done=False,
        )


class TestOpenAIEmbeddings(EmbeddingContract):
    def lane(self) -> Lane:
        return OpenAI(OpenAIOptions(api_key=SecretStr(self.secret), vector_encoding="float"))

    def gives(self, vectors: Sequence[Sequence[float]], usage: Usage) -> Answer:
        data = [{"index": at, "embedding": list(vector)} for at, vector in enumerate(vectors)]
        return json_answer({"data": data, "usage": {"prompt_tokens": usage.input_tokens}})


class TestGeminiEmbeddings(EmbeddingContract):
    def lane(self) -> Lane:
        return Gemini(GeminiOptions.model_validate({"api_key": self.secret}))

    def gives(self, vectors: Sequence[Sequence[float]], usage: Usage) -> Answer:
        return json_answer({"embeddings": [{"values": list(vector)} for vector in vectors]})


class TestVoyageEmbeddings(EmbeddingContract):
    model: ClassVar[str] = "voyage-3"

    def lane(self) -> Lane:
        return Voyage(VoyageOptions(api_key=SecretStr(self.secret)))

    def gives(self, vectors: Sequence[Sequence[float]], usage: Usage) -> Answer:
        data = [{"index": at, "embedding": list(vector)} for at, vector in enumerate(vectors)]
        return json_answer({"data": data, "usage": {"total_tokens": usage.input_tokens}})

"""Usage in vendors' responses, recorded or from their documentation, and what it means."""

from __future__ import annotations

from typing import Any, NamedTuple

from kaixu.plugin import Usage


class Recorded(NamedTuple):
    """Usage of one vendor: its part of a chunk, its meaning, and the vendor's total."""

    chunk: dict[str, Any]
    usage: Usage
    total: int


def usage(**fields: Any) -> dict[str, Any]:
    """The usual place."""
    return {"choices": [], "usage": fields}


#: Those of vendors that speak OpenAI's Chat Completions.
OPENAI = {
    "openai": Recorded(
        usage(
            prompt_tokens=2006,
            completion_tokens=300,
            total_tokens=2306,
            prompt_tokens_details={"cached_tokens": 1920, "audio_tokens": 0},
            completion_tokens_details={"reasoning_tokens": 192, "accepted_prediction_tokens": 0},
        ),
        Usage(2006, 300, 1920, 0, 192),
        2306,
    ),
    "openai, cache writes": Recorded(
        usage(
            prompt_tokens=9080,
            completion_tokens=9,
            total_tokens=9089,
            prompt_tokens_details={"cached_tokens": 0, "cache_write_tokens": 9077},
        ),
        Usage(9080, 9, 0, 9077),
        9089,
    ),
    "openai responses": Recorded(
        {
            "type": "response.completed",
            "response": {
                "usage": {
                    "input_tokens": 36,
                    "input_tokens_details": {"cached_tokens": 30},
                    "output_tokens": 87,
                    "output_tokens_details": {"reasoning_tokens": 40},
                    "total_tokens": 123,
                }
            },
        },
        Usage(36, 87, 30, 0, 40),
        123,
    ),
    "xai, reasoning beside the completion": Recorded(
        usage(
            prompt_tokens=10120,
            completion_tokens=1499,
            total_tokens=14428,
            prompt_tokens_details={"cached_tokens": 128, "text_tokens": 10120},
            completion_tokens_details={"reasoning_tokens": 2809},
        ),
        Usage(10120, 4308, 128, 0, 2809),
        14428,
    ),
    "xai, no total": Recorded(
        usage(prompt_tokens=12, completion_tokens=2, completion_tokens_details={"reasoning_tokens": 317}),
        Usage(12, 319, 0, 0, 317),
        331,
    ),
    "gemini's openai door": Recorded(
        usage(prompt_tokens=9, completion_tokens=664, total_tokens=1994), Usage(9, 1985, 0, 0, 1321), 1994
    ),
    "gemini's openai door, only thoughts": Recorded(
        usage(
            prompt_tokens=21,
            completion_tokens=0,
            total_tokens=81,
            completion_tokens_details={"reasoning_tokens": 60},
        ),
        Usage(21, 60, 0, 0, 60),
        81,
    ),
    "mistral": Recorded(
        usage(
            prompt_tokens=801,
            completion_tokens=2,
            total_tokens=803,
            prompt_audio_seconds=None,
            num_cached_tokens=768,
            prompt_token_details={"cached_tokens": 768},
            prompt_tokens_details={"cached_tokens": 768},
        ),
        Usage(801, 2, 768),
        803,
    ),
    "deepseek": Recorded(
        usage(
            prompt_tokens=1000,
            completion_tokens=500,
            total_tokens=1500,
            prompt_tokens_details={"cached_tokens": 900},
            prompt_cache_hit_tokens=900,
            prompt_cache_miss_tokens=100,
            completion_tokens_details={"reasoning_tokens": 450},
        ),
        Usage(1000, 500, 900, 0, 450),
        1500,
    ),
    "deepseek, before it had details": Recorded(
        usage(
            prompt_tokens=1000,
            completion_tokens=50,
            total_tokens=1050,
            prompt_cache_hit_tokens=900,
            prompt_cache_miss_tokens=100,
        ),
        Usage(1000, 50, 900),
        1050,
    ),
    "moonshot, at the top": Recorded(
        usage(prompt_tokens=2989, completion_tokens=13, total_tokens=3002, cached_tokens=2989),
        Usage(2989, 13, 2989),
        3002,
    ),
    "moonshot, in the last choice": Recorded(
        {
            "choices": [
                {"index": 0, "delta": {}, "usage": {"prompt_tokens": 19, "completion_tokens": 13, "total_tokens": 32}}
            ]
        },
        Usage(19, 13),
        32,
    ),
    "groq": Recorded(
        {
            "choices": [],
            "x_groq": {
                "id": "req_1",
                "usage": {
                    "queue_time": 0.075,
                    "prompt_tokens": 23,
                    "prompt_time": 0.006,
                    "completion_tokens": 19,
                    "completion_time": 0.022,
                    "total_tokens": 42,
                    "total_time": 0.028,
                },
            },
        },
        Usage(23, 19),
        42,
    ),
    "groq, in both places": Recorded(
        {
            "choices": [],
            "usage": {"prompt_tokens": 23, "completion_tokens": 19, "total_tokens": 42},
            "x_groq": {"usage": {"prompt_tokens": 23, "completion_tokens": 19, "total_tokens": 42}},
        },
        Usage(23, 19),
        42,
    ),
    "together": Recorded(
        usage(prompt_tokens=40, completion_tokens=20, total_tokens=60, cached_tokens=32), Usage(40, 20, 32), 60
    ),
    "fireworks": Recorded(
        usage(prompt_tokens=74, completion_tokens=8, total_tokens=82, prompt_tokens_details={"cached_tokens": 64}),
        Usage(74, 8, 64),
        82,
    ),
    "openrouter": Recorded(
        usage(
            prompt_tokens=194,
            completion_tokens=2,
            total_tokens=196,
            cost=0.95,
            cost_details={"upstream_inference_cost": 19},
            prompt_tokens_details={"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
            completion_tokens_details={"reasoning_tokens": 0},
        ),
        Usage(194, 2, 0, 100),
        196,
    ),
    "ollama": Recorded(usage(prompt_tokens=26, completion_tokens=298, total_tokens=324), Usage(26, 298), 324),
    "ollama's own": Recorded(
        {"prompt_eval_count": 26, "eval_count": 298, "eval_duration": 4799921000}, Usage(26, 298), 324
    ),
    "vllm": Recorded(
        usage(prompt_tokens=15, total_tokens=45, completion_tokens=30, prompt_tokens_details=None),
        Usage(15, 30),
        45,
    ),
    "sglang": Recorded(
        usage(prompt_tokens=15, total_tokens=45, completion_tokens=30, prompt_tokens_details=None, reasoning_tokens=12),
        Usage(15, 30, 0, 0, 12),
        45,
    ),
    "llama.cpp": Recorded(
        {"choices": [], "timings": {"cache_n": 236, "prompt_n": 1, "prompt_ms": 30.958, "predicted_n": 35}},
        Usage(237, 35, 236),
        272,
    ),
    "litellm of anthropic": Recorded(
        usage(
            prompt_tokens=15635,
            completion_tokens=7,
            total_tokens=15642,
            prompt_tokens_details={"cached_tokens": 8, "cache_creation_tokens": 15600},
            cache_read_input_tokens=8,
            cache_creation_input_tokens=15600,
        ),
        Usage(15635, 7, 8, 15600),
        15642,
    ),
    "a proxy that leaves the cached ones out of the prompt": Recorded(
        usage(
            prompt_tokens=5,
            completion_tokens=7,
            total_tokens=12,
            cache_read_input_tokens=80,
            cache_creation_input_tokens=15,
        ),
        Usage(100, 7, 80, 15),
        107,
    ),
    "bedrock's invocation metrics": Recorded(
        {
            "amazon-bedrock-invocationMetrics": {
                "inputTokenCount": 8,
                "outputTokenCount": 9,
                "cacheReadInputTokenCount": 3,
                "firstByteLatency": 200,
            }
        },
        Usage(11, 9, 3),
        20,
    ),
    "bedrock's converse": Recorded(
        {
            "metadata": {
                "usage": {
                    "inputTokens": 12,
                    "outputTokens": 34,
                    "totalTokens": 1846,
                    "cacheReadInputTokens": 1000,
                    "cacheWriteInputTokens": 800,
                }
            }
        },
        Usage(1812, 34, 1000, 800),
        1846,
    ),
    "camelCase": Recorded(
        usage(promptTokens=7477, completionTokens=2060, totalTokens=11476), Usage(7477, 3999, 0, 0, 1939), 11476
    ),
    "two names for one figure": Recorded(
        usage(prompt_tokens=100, completion_tokens=50, total_tokens=150, input_tokens=0, output_tokens=0),
        Usage(100, 50),
        150,
    ),
    "numbers as text and float": Recorded(
        usage(
            prompt_tokens="20", completion_tokens=5.0, total_tokens="25.0", prompt_tokens_details={"cached_tokens": "4"}
        ),
        Usage(20, 5, 4),
        25,
    ),
    "nulls, booleans and negatives": Recorded(
        usage(
            prompt_tokens=20,
            completion_tokens=5,
            total_tokens=None,
            cached_tokens=True,
            prompt_tokens_details=None,
            completion_tokens_details={"reasoning_tokens": -3, "audio_tokens": None},
        ),
        Usage(20, 5),
        25,
    ),
    "more reasoning than the total leaves room for": Recorded(
        usage(
            prompt_tokens=10,
            completion_tokens=5,
            total_tokens=15,
            completion_tokens_details={"reasoning_tokens": 400_000},
        ),
        Usage(10, 5, 0, 0, 5),
        15,
    ),
}

#: Gemini's own, at its own door and at Vertex.
GEMINI = {
    "gemini": Recorded(
        {
            "usageMetadata": {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 60,
                "candidatesTokenCount": 30,
                "thoughtsTokenCount": 70,
                "toolUsePromptTokenCount": 7,
                "totalTokenCount": 207,
            }
        },
        Usage(107, 100, 60, 0, 70),
        207,
    ),
    "gemini, hidden thoughts": Recorded(
        {"usageMetadata": {"promptTokenCount": 50, "candidatesTokenCount": 10, "totalTokenCount": 250}},
        Usage(50, 200, 0, 0, 190),
        250,
    ),
    "gemini, no candidates": Recorded(
        {"usageMetadata": {"promptTokenCount": 50, "totalTokenCount": 250}}, Usage(50, 200), 250
    ),
}

#: Anthropic's, and Bedrock's and Vertex's for its models.
ANTHROPIC = {
    "anthropic": Recorded(
        {
            "usage": {
                "input_tokens": 3,
                "cache_read_input_tokens": 80,
                "cache_creation_input_tokens": 20,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 7,
                "service_tier": "standard",
            }
        },
        Usage(103, 7, 80, 20),
        110,
    ),
    "anthropic, writes by how long they are kept": Recorded(
        {
            "usage": {
                "input_tokens": 3,
                "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
                "output_tokens": 7,
            }
        },
        Usage(23, 7, 0, 20),
        30,
    ),
}

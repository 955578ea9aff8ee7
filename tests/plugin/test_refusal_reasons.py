"""Vendors' real error texts: each is understood, and none reaches a client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.plugin.errors import UpstreamBusy, UpstreamError
from kaixu.plugin.refusals import error_in_answer, refusal
from kaixu.plugin.vendor_words import MOST_WORDS, redacted

QUOTED = json.dumps(
    {
        "error": {
            "message": "This endpoint's maximum context length is 1048576 tokens. However, you requested about 1293741 tokens"
        }
    }
)

#: By reason: the status, the body, and the numbers that are in it.
REFUSALS: dict[str, list[tuple[int, Any, dict[str, int]]]] = {
    "context": [
        (400, {"error": {"message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens. Please reduce the length of the messages.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}}, {"limit_tokens": 8192, "input_tokens": 8545}),
        (400, {"error": {"message": "This model's maximum context length is 4097 tokens. However, you requested 4927 tokens (3927 in the messages, 1000 in the completion).", "code": "context_length_exceeded"}}, {"limit_tokens": 4097, "input_tokens": 3927, "max_tokens": 1000}),
        (400, {"error": {"message": "Your input exceeds the context window of this model. Please adjust your input and try again.", "code": "context_length_exceeded"}}, {}),
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 213462 tokens > 200000 maximum"}}, {"limit_tokens": 200000, "input_tokens": 213462}),
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or `max_tokens` and try again"}}, {"limit_tokens": 200000, "input_tokens": 188240, "max_tokens": 21333}),
        (413, {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}, {}),
        (400, [{"error": {"code": 400, "message": "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).", "status": "INVALID_ARGUMENT"}}], {"limit_tokens": 1048575, "input_tokens": 1196265}),
        (400, {"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", "type": "invalid_request_error", "code": "3051"}, {"limit_tokens": 32768, "input_tokens": 40000}),
        (400, {"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 4096}}, {"limit_tokens": 4096, "input_tokens": 9000}),
        (400, {"object": "error", "message": "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length is 4096 tokens and your request has 2104 input tokens (2000 > 4096 - 2104).", "type": "BadRequestError", "code": 400}, {"limit_tokens": 4096, "input_tokens": 2104, "max_tokens": 2000}),
        (400, {"object": "error", "type": "BadRequestError", "message": "Requested token count exceeds the model's maximum context length of 262144 tokens. You requested a total of 262462 tokens: 230462 tokens from the input messages and 32000 tokens for the completion."}, {"limit_tokens": 262144, "input_tokens": 230462, "max_tokens": 32000}),
        (400, {"code": "invalid", "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens."}, {"limit_tokens": 131072, "input_tokens": 537812}),
        (400, {"error": {"message": "Please reduce the length of the messages or completion.", "type": "invalid_request_error", "code": "context_length_exceeded"}}, {}),
        (413, {"error": {"code": "tokens_limit_reached", "message": "Request body too large for gpt-4o model. Max size: 8000 tokens."}}, {}),
        (400, {"message": "Input is too long for requested model."}, {}),
        (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 20 `max_new_tokens`", "error_type": "validation"}, {"limit_tokens": 4096, "input_tokens": 5000}),
        (400, {"error": {"message": "Your request exceeded model token limit: 8192", "type": "invalid_request_error"}}, {"limit_tokens": 8192}),
        (500, {"error": "input length exceeds maximum context length"}, {}),
        (400, {"error": {"message": "prompt token count of 74490 exceeds the limit of 72000", "code": "model_max_prompt_tokens_exceeded"}}, {"limit_tokens": 72000, "input_tokens": 74490}),
        (400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": QUOTED, "provider_name": "x"}}}, {"limit_tokens": 1048576, "input_tokens": 1293741}),
        (400, {"error": {"message": "litellm.ContextWindowExceededError: BadRequestError", "type": None, "code": "400"}}, {}),
    ],
    "rate_size": [
        (413, {"error": {"message": "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7000, please reduce your message size and try again.", "type": "tokens", "code": "rate_limit_exceeded"}}, {}),
        (429, {"error": {"message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000. The input or output tokens must be reduced in order to run successfully.", "code": "rate_limit_exceeded"}}, {}),
    ],
    "model": [
        (404, {"error": {"message": "The model `gpt-9` does not exist or you do not have access to it.", "code": "model_not_found"}}, {}),
        (400, {"error": {"message": "The model `mixtral-8x7b-32768` has been decommissioned and is no longer supported.", "code": "model_decommissioned"}}, {}),
        (404, {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-2"}}, {}),
        (404, {"error": "model 'llama9' not found, try pulling it first"}, {}),
        (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}, {}),
        (404, {"error": {"code": 404, "message": "models/gemini-1.0-pro is not found for API version v1beta, or is not supported for generateContent.", "status": "NOT_FOUND"}}, {}),
        (400, {"error": {"message": "Model Not Exist", "type": "invalid_request_error"}}, {}),
        (400, {"error": {"message": "foo/bar is not a valid model ID", "code": 400}}, {}),
        (400, {"message": "The provided model identifier is invalid."}, {}),
        (400, {"object": "error", "message": "Invalid model: mistral-x", "type": "invalid_model", "code": "1500"}, {}),
        (404, {"error": {"message": "No endpoints found for foo/bar.", "code": 404}}, {}),
        (410, {"error": "gone"}, {}),
    ],
    "quota": [
        (429, {"error": {"message": "You exceeded your current quota, please check your plan and billing details.", "type": "insufficient_quota", "code": "insufficient_quota"}}, {}),
        (429, {"error": {"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED", "details": [{"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}, {"retryDelay": "34s"}]}}, {}),
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API."}}, {}),
        (402, {"error": {"message": "Insufficient Balance"}}, {}),
        (402, {"error": {"message": "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 4000."}}, {}),
        (412, {"error": {"message": "Account foo is suspended, possibly due to reaching the monthly spending limit"}}, {}),
    ],
    "region": [
        (403, {"error": {"code": "unsupported_country_region_territory", "message": "Country, region, or territory not supported"}}, {}),
        (400, {"error": {"code": 400, "message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}}, {}),
    ],
    "credential": [
        (401, {"error": {"message": "Incorrect API key provided: sk-abc***xyz.", "code": "invalid_api_key"}}, {}),
        (400, {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}, {}),
        (403, b"", {}),
    ],
    "content": [
        (400, {"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, {}),
        (400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}, {}),
        (400, {"error": {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}}, {}),
        (403, {"error": {"code": 403, "message": "The input requires moderation and was flagged for violence"}}, {}),
    ],
    "parameter": [
        (400, {"error": {"message": "Unsupported parameter: 'temperature' is not supported with this model.", "param": "temperature", "code": "unsupported_parameter"}}, {}),
        (400, {"error": {"message": "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas you provided 100000.", "param": "max_tokens", "code": "invalid_value"}}, {}),
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: 8193 > 8192, which is the maximum allowed number of output tokens for claude-3-haiku"}}, {}),
        (400, {"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"foo\": Cannot find field.", "status": "INVALID_ARGUMENT"}}, {}),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 12345}]}, {}),
        (400, {"error": "registry.ollama.ai/library/x does not support tools"}, {}),
        (404, {"error": {"message": "No endpoints found that support tool use.", "code": 404}}, {}),
    ],
    "image": [
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6000000 bytes > 5242880 bytes"}}, {}),
        (400, {"error": {"message": "You uploaded an unsupported image. Please make sure your image is valid.", "code": "image_parse_error"}}, {}),
        (400, {"error": {"code": 400, "message": "Unable to process input image.", "status": "INVALID_ARGUMENT"}}, {}),
        (400, {"error": {"message": "Timeout while downloading https://x/y.png.", "code": "invalid_image_url"}}, {}),
    ],
    "busy": [
        (429, {"error": {"message": "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000.", "code": "rate_limit_exceeded"}}, {}),
        (429, b"", {}),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, {}),
        (503, {"error": {"message": "context length whatever"}}, {}),
    ],
    "": [
        (400, {"error": {"message": "Invalid type for 'messages[0].content': expected string", "code": "invalid_type"}}, {}),
        (400, {"error": {"message": "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after"}}, {}),
        (400, b"<html>Bad request</html>", {}),
        (404, {"error": {"message": "Item with id 'rs_1' not found.", "code": None}}, {}),
        (500, {"error": {"message": "The server had an error while processing your request"}}, {}),
    ],
}  # fmt: skip

CODES = {
    "context": "CONTEXT_TOO_LONG", "rate_size": "CONTEXT_TOO_LONG", "model": "MODEL_GONE", "quota": "UPSTREAM_QUOTA",
    "region": "UPSTREAM_REGION", "credential": "UPSTREAM_ERROR", "content": "CONTENT_REFUSED",
    "parameter": "PARAMETER_REFUSED", "image": "IMAGE_REFUSED", "busy": "UPSTREAM_BUSY",
}  # fmt: skip

#: Further wordings, each with the status that it comes with: the same meaning in other words.
WORDED: dict[str, list[tuple[int, str]]] = {
    "context": [
        (400, "Prompt exceeds max length"),
        (400, "Exceeded max limit of input tokens"),
        (400, "Requested tokens exceed the limit"),
        (400, "Input text is too long. Max length is 8192"),
        (400, "messages too long"),
        (400, "the total length of input messages exceeds the limit"),
        (400, "Invalid 'messages': total token count exceeds the model limit"),
        (400, "Input tokens exceeded the configured limit of 272000 tokens"),
        (400, "Total tokens of image and text exceed max message tokens"),
        (400, "The total number of tokens in the system instruction and the input exceeds 32768"),
        (400, "Malformed input request: expected maxLength: 10000, actual: 20000"),
        (400, "inputs must have less than 4096 tokens. Given: 5000"),
        (400, "Sequence length 9000 exceeds max_position_embeddings 8192"),
        (400, "The sum of input and output tokens exceeds the model's maximum"),
        (400, "This request would exceed the model's context"),
    ],
    "parameter": [
        (400, "Invalid value for 'max_output_tokens': exceeds the maximum"),
        (400, "temperature must be between 0 and 2"),
        (400, "`temperature` and `top_p` cannot both be specified for this model"),
        (400, "tools: Too many tools, maximum is 128"),
        (400, "Function calling is not enabled for models/x"),
        (400, "response_format: This response_format type is unavailable now"),
    ],
    "model": [(400, "The model 'foo' is not available"), (400, "The requested model `x/y-2` is not supported.")],
    "content": [
        (400, "The request was blocked because of unsafe content"),
        (400, "Prompt was blocked due to safety"),
        (400, "The content you provided or machine outputted is blocked"),
        (400, "系统检测到输入或生成内容可能包含不安全或敏感内容"),
    ],
    "quota": [(403, "This API method requires billing to be enabled")],
    "region": [(403, "The country you are in is not supported")],
    "busy": [(429, "Tokens per minute limit exceeded"), (503, "the request exceeded its time limit")],
    "": [
        (400, "the request exceeded its time limit"),
        (400, "your requests exceed the limit of tokens per minute"),
        (500, "the request exceeded the maximum time"),
        (500, "database tokens per minute exceeded"),
    ],
}

CASES = [
    pytest.param(reason, status, body, figures, id=f"{reason or 'unknown'}-{status}-{number}")
    for reason, refusals in REFUSALS.items()
    for number, (status, body, figures) in enumerate(refusals)
]


@pytest.mark.parametrize(
    ("reason", "status", "words"),
    [pytest.param(reason, *one, id=one[1][:40]) for reason, several in WORDED.items() for one in several],
)
def test_a_refusal_is_understood_in_other_words(reason: str, status: int, words: str) -> None:
    error = refusal(status, None, json.dumps({"error": {"message": words}}).encode())
    assert error.reason == (reason or None)
    assert words not in f"{error.message} {error.hint}"


def sent(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize(("reason", "status", "body", "figures"), CASES)
def test_a_refusal_is_understood_and_said_in_our_own_words(
    reason: str, status: int, body: Any, figures: dict[str, int]
) -> None:
    error = refusal(status, None, sent(body))
    assert (error.reason or "", error.upstream_status) == (reason, status)
    assert error.figures == figures
    if reason:
        assert error.code == CODES[reason]
    said = f"{error.message} {error.hint}"
    for text in (value for value in texts(body) if len(value) > 24):
        assert text not in said


def texts(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [text for one in (value.values() if isinstance(value, dict) else value) for text in texts(one)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("body", [b"", b"404 page not found", b'{"detail": "Not Found"}'])
def test_a_404_that_names_no_model_is_a_rejection_that_goes_elsewhere(body: bytes) -> None:
    error = refusal(404, None, body)
    assert (error.code, error.reason) == ("UPSTREAM_REJECTED", "model")


@pytest.mark.parametrize(
    ("said", "code", "status"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, "UPSTREAM_BUSY", 503),
        ({"type": "rate_limit_error", "message": "slow down"}, "UPSTREAM_BUSY", 429),
        ({"code": 429, "message": "Rate limited upstream"}, "UPSTREAM_BUSY", 429),
        ({"code": 502, "message": "Provider disconnected"}, "UPSTREAM_ERROR", 502),
        ({"message": "prompt is too long: 5 tokens > 3 maximum"}, "CONTEXT_TOO_LONG", 422),
        ({"code": 400, "message": "maximum context length is 3 tokens"}, "CONTEXT_TOO_LONG", 422),
        ({"code": "model_not_found", "message": "no such model"}, "MODEL_GONE", 404),
        ({"code": 30001, "message": "bad parameter"}, "UPSTREAM_ERROR", 502),
        ("something broke", "UPSTREAM_ERROR", 502),
        (None, "UPSTREAM_ERROR", 502),
        ({"message": {"deeply": [["odd"]]}}, "UPSTREAM_ERROR", 502),
    ],
    ids=str,
)
def test_an_error_inside_an_answer_is_understood_in_the_same_way(said: Any, code: str, status: int) -> None:
    error = error_in_answer(said)
    assert (error.code, error.status) == (code, status)


@pytest.mark.parametrize(
    ("body", "wait_s"),
    [
        ({"error": {"message": "Please try again in 6.5s."}}, 7),
        ({"error": {"message": "Please try again in 1m12.5s."}}, 73),
        ({"error": {"message": "Please try again in 120ms."}}, 1),
        ({"error": {"status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "34.07s"}]}}, 35),
        ({"error": {"message": "slow down"}}, 2),
    ],
)
def test_a_wait_is_read_from_the_body_where_no_header_tells_it(body: Any, wait_s: int) -> None:
    error = refusal(429, None, sent(body))
    assert isinstance(error, UpstreamBusy)
    assert (error.retry_after_s, error.wait_told) == (wait_s, wait_s != 2)


def test_only_fields_that_we_know_are_named() -> None:
    known = refusal(400, None, sent({"error": {"code": "unsupported_parameter", "param": "seed"}}))
    odd = refusal(400, None, sent({"error": {"code": "unsupported_parameter", "param": "what the customer wrote"}}))
    assert (known.field, odd.field) == ("seed", None)
    assert "customer" not in f"{odd.message} {odd.hint}"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdEFGH1234", "sk-ant-api03-abc_def-123", "kx_live_0123456789abcdef", "AIzaSyA1234567890abcdef",
        "gsk_abcdefgh12345678", "xai-abcdefgh12345678", "AKIAABCDEFGHIJKLMNOP", "Bearer abcdef.ghijkl", "ada@example.com",
        "eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl", "sk-abc***************wxyz", "0123456789abcdef0123456789abcdef", "own-vendor-key",
    ],
)  # fmt: skip
@pytest.mark.parametrize("around", ["{}", "key: {}.", '"{}"', "(x={})", "https://{}@vendor/", "https://v/?a={}&b=1"])
def test_secrets_are_taken_out_of_what_is_kept(secret: str, around: str) -> None:
    kept = redacted(f"refused {around.format(secret)} yes", ["own-vendor-key"])
    assert secret not in kept
    assert kept.startswith("refused")


def test_long_quotations_are_of_the_request_and_are_not_kept() -> None:
    prompt = "my diary says that I went to the doctor and that she told me everything about it"
    assert prompt not in redacted(f"Invalid value: '{prompt}'. Expected a number.")
    body = {"detail": [{"loc": ["body", "x"], "msg": "bad", "input": prompt}]}
    assert prompt not in (refusal(422, None, sent(body)).vendor_words or "")


@given(st.text(max_size=2000))
def test_what_is_kept_is_one_bounded_line(text: str) -> None:
    kept = redacted(text * 3)
    assert len(kept) <= MOST_WORDS
    assert kept.isprintable() or not kept.strip() or "\n" not in kept
    kept.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "message", "code", "loc", "type", "detail", "param", "raw"]), inner),
    max_leaves=20,
)  # fmt: skip


@given(
    st.sampled_from([400, 401, 404, 413, 429, 500, 503]),
    st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary()),
)
def test_no_body_breaks_it(status: int, body: bytes) -> None:
    assert isinstance(refusal(status, None, body), UpstreamError)


@pytest.mark.parametrize(
    "text", ["[" * 5000, "model " * 3000, "input " * 3000, "a" * 16_000, "'" * 9000, '"' + "x" * 9000]
)
def test_no_body_takes_long(text: str) -> None:
    from time import monotonic

    began = monotonic()
    refusal(400, None, sent({"error": {"message": text}}))
    refusal(400, None, text.encode())
    assert monotonic() - began < 1

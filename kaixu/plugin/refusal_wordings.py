# ruff: noqa: E501 - patterns are read as lists
"""Patterns for vendors' error codes and phrases, in lower case. `refusal_reasons` says what they mean.

Collected from OpenAI, Azure, Anthropic, Gemini and Vertex, Bedrock, Mistral, Groq, DeepSeek, Moonshot, Qwen, xAI,
Together, Fireworks, OpenRouter, GitHub's models, LiteLLM, vLLM, SGLang, TGI, llama.cpp and Ollama.
"""

from __future__ import annotations

import re


def any_of(*patterns: str) -> re.Pattern[str]:
    """One pattern that matches any of several."""
    return re.compile("|".join(patterns))


REGION = any_of(
    r"unsupported_country", r"location is not supported", r"unsupported (?:countries|country|region)",
    r"not (?:available|supported|allowed|accessible)[^.]{0,30} (?:in|from) (?:your|this) (?:country|region|location|territory)",
    r"country, region, or territory", r"\bcountry\b[^.]{0,30}(?:not supported|not available)",
)  # fmt: skip
CREDENTIAL = any_of(
    r"invalid_api_key", r"api_key_invalid", r"invalidapikey", r"api key not valid", r"api key expired",
    r"invalid api[ -]key", r"incorrect api key", r"authentication_error", r"expiredtoken", r"unrecognizedclient",
    r"invalid x-api-key",
)  # fmt: skip
QUOTA = any_of(
    r"insufficient_quota", r"insufficient[ _]balance", r"insufficient[ _](?:funds|credits?)\b", r"billing_",
    r"credit balance is too low", r"requires more credits", r"out of credits", r"all available credits",
    r"check your plan and billing", r"exceeded_current_quota", r"arrearage", r"(?:spend|spending|cost) limit",
    r"(?:specified|monthly) (?:api )?usage limits?", r"usage limits?\. you will regain", r"account (?:is |has been )?suspended",
    r"monthly included credits", r"quota (?:has been |is )?(?:exhausted|used up)", r"perday", r"prepayment credits",
    r"payment required", r"billing to be enabled", r"billing (?:account )?(?:is )?(?:disabled|not enabled|not active)",
)  # fmt: skip
CONTENT = any_of(
    r"content_filter", r"content_policy", r"responsibleaipolicyviolation", r"content management policy",
    r"content filtering policy", r"content exists risk", r"usage polic(?:y|ies)", r"usage guidelines",
    r"data_inspection_failed", r"datainspectionfailed", r"inappropriate content", r"safety system", r"moderation",
    r"prohibited_content", r"contentpolicyviolation", r"flagged (?:as|by|for)", r"content_blocked", r"guardrail",
    r"violat(?:es|ing|ion of)[^.]{0,40}(?:polic|guideline|terms)", r"sensitive_words", r"cyber_policy", r"unsafe content",
    r"sensitive (?:content|information)", r"blocked (?:due to|because of|by|for) (?:the |its |our )?safety", r"machine outputted is blocked",
    r"敏感内容", r"不安全",
)  # fmt: skip
MODEL = any_of(
    r"model_not_found", r"model_decommissioned", r"model_deprecated", r"model_not_available", r"deploymentnotfound",
    r"model_not_supported", r"invalid_model\b", r"model not exist", r"modelnotfound", r"unknown_model",
    r"\bmodels?\b[^\n]{0,160}(?:does not exist|doesn't exist|not found)",
    r"not found[^.]{0,30}\bmodel", r"no endpoints found for", r"not a valid model", r"invalid model\b",
    r"model identifier is invalid", r"end of its life", r"marked by provider as legacy",
    r"\bmodels?\b[^\n]{0,160}(?:decommissioned|discontinued|retired|been deprecated|shut ?down|been removed|no longer (?:available|supported|served))",
    r"deployment[^.]{0,60}does not exist", r"no such model", r"try pulling it first", r"not_found_error:? model:",
    r"model: [^ ]{1,200}$", r"\bmodel ['\"`]?[\w./:-]{1,100}['\"`]? is not (?:available|supported)\b(?! with)",
)  # fmt: skip
CONTEXT = any_of(
    r"context_length", r"context_size", r"context_window", r"contextwindow", r"max_prompt_tokens", r"tokens_limit_reached",
    r"input_too_long", r"prompt_too_long", r"request_too_large", r"request exceeds the maximum", r"string_above_max_length", r"context overflow",
    r"maximum (?:context|prompt|input|sequence) (?:length|limit|window|size)", r"max(?:imum)? context", r"context (?:length|limit|size|window)",
    r"(?:prompt|input|request|conversation|messages?) (?:is|are|was) too (?:long|large)", r"prompt too long", r"input too long",
    r"input length", r"input token count", r"prompt token count", r"too many (?:input )?tokens",
    r"exceeds the maximum number of (?:input )?tokens", r"max(?:imum)? (?:number of )?input tokens", r"exceeded model token limit",
    r"token limit exceeded", r"reduce the length", r"reduce your prompt", r"too large for model", r"longer than the model",
    r"inputs?`? tokens \+ `?max_new_tokens", r"max_model_len", r"maximum allowed (?:input )?(?:length|tokens)",
    r"request body too large for", r"string too long", r"maximum sequence length", r"input and output tokens",
    r"(?:prompt|input|text|conversation|messages?)'?(?: \w+)? (?:is |are |was )?too (?:long|large)", r"too large: prompt",
    r"\b(?:prompt|inputs?|messages'?|conversation|sequence)\b[^.]{0,40} exceed[^.]{0,60}(?:max|limit|length|\d{3})",
    r"(?<!max )(?<!output )(?<!completion )(?<!new )\btokens? (?!per |quota)(?:[^.]{0,80} )?exceed", r"exceed[^.]{0,30} input tokens",
    r"exceed[^.]{0,40}\bcontext\b", r"must have (?:less|fewer) than \d+ tokens", r"expected maxlength",
)  # fmt: skip
#: The request alone exceeds the operator's rate for a minute: waiting never helps, a shorter request does.
RATE_SIZE = any_of(r"request too large for", r"must be reduced in order to run", r"reduce your message size")
OUTPUT = any_of(
    r"number of output tokens", r"at most \d+ completion tokens", r"max(?:_completion|_output|_new)?_?tokens`?'?\"?:? (?:is |must |should |cannot |value |exceeds? )"
)  # fmt: skip
IMAGE = any_of(
    r"image_too_large", r"image_parse", r"invalid_image", r"unsupported_image", r"image exceeds", r"image (?:dimension|size)",
    r"(?:process|decode|load|download|fetch|open|parse|read|identify) (?:the |an |input |this |all |your )*image", r"unsupported image", r"invalid (?:base64[^.]{0,10} )?image",
    r"image (?:is |was )?(?:too (?:large|big|small|many)|corrupt|invalid)", r"downloading (?:http|the|image|file)", r"too many images",
    r"image (?:media|mime|file|format)", r"invalid_base64", r"image data", r"images? (?:exceed|per request)",
)  # fmt: skip
PARAMETER = any_of(
    r"unsupported_parameter", r"unsupported_value", r"unknown_parameter", r"unsupportedparams", r"extra_forbidden",
    r"unsupported (?:parameter|value|field)", r"unrecognized (?:request )?(?:argument|field|parameter)",
    r"unknown (?:name|field|parameter|argument)", r"extra inputs are not permitted", r"extra fields not permitted",
    r"(?:does not|doesn't|not) support", r"is not (?:supported|available|allowed) (?:with|for|by|on|in) ", r"not supported",
    r"is deprecated for this model", r"no endpoints found that", r"must be (?:between|less than|greater than|at (?:most|least)) ",
    r"cannot (?:both )?be specified", r"is not enabled for (?:this |the )?models?", r"is unavailable now", r"too many tools",
    r"number of sequences",
)  # fmt: skip

#: Things other than a model that may not be found.
OTHER_THINGS = any_of(
    r"\b(?:file|item|response|cache|thread|container)\b[^.]{0,80}not found", r"previous_response_not_found"
)

#: Phrases with token counts; the most reliable ones first.
LIMITS = (
    r"tokens? > (\d+) maximum", r"exceed context limit: \d+ \+ \d+ > (\d+)", r"with (\d+) maximum context length",
    r"maximum number of (?:input )?tokens allowed \(?(\d+)", r"must be <= (\d+)",
    r"(?:context|prompt|input) (?:length|window|size|limit)[^0-9.]{0,40}(\d+)",
    r"(?:token )?limit(?: of|:| is)? \(?(\d+)", r"max_model_len[^0-9]{0,5}(\d+)",
)  # fmt: skip
INPUTS = (
    r"prompt is too long: (\d+)", r"exceed context limit: (\d+) \+",
    r"(\d+) (?:tokens? )?(?:from the input|in the messages|in your prompt|of text input|input tokens|prompt tokens|`?inputs`? tokens)",
    r"(?:messages resulted in|prompt contains|request contains|input token count \(|token count of|input \(|your request has) ?(\d+)",
    r"requested (?:about |a total of )?(\d+) tokens",
)  # fmt: skip
OUTPUTS = (
    r"exceed context limit: \d+ \+ (\d+)", r"(\d+) (?:tokens? )?(?:for|in) the (?:completion|output)",
    r"max(?:_completion)?_tokens'? is too large: (\d+)", r"(\d+) `?max_new_tokens",
)  # fmt: skip

WAIT = re.compile(
    r"(?:try|retry)(?: again| your request)? (?:in|after) (?:(\d{1,3})h)?(?:(\d{1,4})m(?!s))?(?:(\d{1,6}(?:\.\d{1,6})?) ?(ms|s))?"
)

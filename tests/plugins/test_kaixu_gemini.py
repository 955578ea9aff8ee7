"""The gemini lane: its requests, refusals, parsed responses, failures of the vendor, and embeddings."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from kaixu_gemini import Gemini, GeminiOptions

from kaixu.metering.features import refuse_unsupported
from kaixu.plugin import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Finish,
    ImagePart,
    Invalid,
    Message,
    Part,
    Reasoning,
    ReasoningDelta,
    ReasoningPart,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolName,
    ToolResultPart,
    UpstreamBusy,
    UpstreamError,
    Usage,
)
from kaixu.plugin.testing import Answer, FakeWire, check_lane, event_stream, json_answer

SECRET = "words of the vendor that no client may see"
OLD, BEFORE, NOW = "gemini-2.0-flash", "gemini-2.5-flash", "gemini-3.8-flash"
HELLO = Message("user", (TextPart("Hello"),))
USER_TURN = {"role": "user", "parts": [{"text": "Hello"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
STRICT = (Tool("now", strict=True),)
PNG, REMOTE = ImagePart("data:image/png;base64,AA==", "low"), ImagePart("https://x.test/a")
CALL, NEXT = ToolCallPart("c1", "weather", '{"city":"Rome"}'), ToolCallPart("c2", "now", "")
SKIP = "skip_thought_signature_validator"
FILTERED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY")
FINISHES = {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length", "MALFORMED_FUNCTION_CALL": None}
FINISHES |= dict.fromkeys(FILTERED, "content_filter") | {"OTHER": None, "FUNCTION_CALL": "tool_calls"}
PATHS = {NOW: f"models/{NOW}", f"models/{NOW}": f"models/{NOW}", "tunedModels/mine": "tunedModels/mine"}
PATHS |= {"../x?a=b#c/d:e": "models/..%2Fx%3Fa%3Db%23c%2Fd%3Ae"}
PURPOSES = {"query": "task: search result | query: a", "document": "title: none | text: a", None: "a"}
#: Objects stay what they are, save where Google would look for what they refer to.
RESPONSES: dict[str, Any] = {text: {"result": text} for text in ("[1]", "sunny", '{"$ref": "#/b"}', "")}
RESPONSES |= {'{"sky": "blue"}': {"sky": "blue"}, "{}": {}}
IMAGES = {"data:image/jpg;base64,AA==": {"inlineData": {"mimeType": "image/jpeg", "data": "AA=="}}}
NAMED = {"https://x.test/a.PNG?b=c.gif": "image/png", "https://x.test/a": "image/jpeg"}
IMAGES |= {url: {"fileData": {"fileUri": url, "mimeType": mime}} for url, mime in NAMED.items()}
CHOICES: list[Any] = [({"tool_choice": ours}, {"mode": mode}) for ours, mode in (("auto", "AUTO"), ("none", "NONE"))]
CHOICES += [({"tool_choice": ToolName("now")}, {"mode": "ANY", "allowedFunctionNames": ["now"]})]
CHOICES += [({"tools": STRICT}, {"mode": "VALIDATED"}), ({"tools": STRICT, "tool_choice": "required"}, {"mode": "ANY"})]
CHOICES += [({"tools": STRICT, "tool_choice": "auto", "model": OLD}, {"mode": "AUTO"})]
LEVELS = {"none": "LOW", "minimal": "LOW", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "max": "HIGH"}
LEAST = {"gemini-3-flash-preview": "MINIMAL", "gemini-3.6-flash": "MINIMAL", "gemini-4-argon": "LOW"}
LEAST |= {"gemini-3.1-pro-preview": "LOW", "gemini-flash-latest": "LOW"}
THINKING: list[Any] = [(NOW, Reasoning(word), level) for word, level in LEVELS.items()]
THINKING += [(NOW, Reasoning(None, n), word) for n, word in ((0, "LOW"), (8192, "MEDIUM"), (9000, "HIGH"))]
THINKING += [(NOW, Reasoning("low", 9000), "LOW"), (BEFORE, Reasoning("low", 700), 700)]
THINKING += [(model, Reasoning("minimal"), level) for model, level in LEAST.items()]
THINKING += [(BEFORE, Reasoning(None, n), budget) for n, budget in ((0, 0), (700, 700), (99999, 24576))]
THINKING += [(BEFORE, Reasoning(word), n) for word, n in (("none", 0), ("minimal", 1024), ("high", 1500))]
THINKING += [(f"{BEFORE}-lite", Reasoning("none"), 0), (f"{BEFORE}-lite", Reasoning(None, 100), 512)]
THINKING += [("gemini-2.5-pro", Reasoning("none"), 128), ("gemini-2.5-pro", Reasoning(None, 99999), 32768)]


def lane(**options: Any) -> Gemini:
    return Gemini(GeminiOptions.model_validate({"api_key": "sk-test", **options}))


def make_request(*messages: Message, model: str = NOW, **fields: Any) -> ChatRequest:
    return ChatRequest(model, messages or (HELLO,), 3000, **fields)


def thought(*parts: Part) -> Message:
    """An assistant message."""
    return Message("assistant", parts)


def result(*content: Any, id: str = "c1", is_error: bool = False) -> Message:
    """A tool result."""
    parts = tuple(TextPart(part) if isinstance(part, str) else part for part in content)
    return Message("tool", (ToolResultPart(id, parts, is_error),))


def piece(*parts: Any, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk as Gemini streams it."""
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": list(parts)}}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})], **fields}


def stream(*pieces: Any, broken: Exception | None = None) -> Answer:
    return event_stream(*pieces, done=False, broken=broken)


async def sent_body(request: ChatRequest, **options: Any) -> Any:
    """The body sent for `request`."""
    wire, opened = FakeWire(stream(piece(finish="STOP"))), lane(**options)
    refuse_unsupported(opened, request)
    await check_lane(opened, request, wire)
    return json.loads(wire.requests[0].content)


async def turns(*messages: Message, model: str = NOW) -> Any:
    return (await sent_body(make_request(*messages, model=model)))["contents"]


async def answered(*pieces: Any) -> list[ChatEvent]:
    return await check_lane(lane(), make_request(), FakeWire(stream(*pieces)))


@pytest.mark.parametrize(
    ("fields", "config"),
    [
        ({"user": "someone"}, {}),
        ({"response_format": ResponseFormat()}, {"responseMimeType": "application/json"}),
        ({"reasoning": Reasoning()}, {"thinkingConfig": {"includeThoughts": True}}),
        ({"reasoning": Reasoning("none"), "model": OLD}, {}),  # it does not think
    ],
)
async def test_only_set_fields_are_sent(fields: Any, config: Any) -> None:
    assert await sent_body(make_request(**fields)) == {
        "contents": [USER_TURN],
        "generationConfig": config | {"maxOutputTokens": 3000},
    }


async def test_every_field_goes_to_the_vendor_under_its_name() -> None:
    ours: dict[str, Any] = {"temperature": 0.0, "top_p": 0.5, "top_k": 7, "seed": 1, "stop": ("END", "\n")}
    ours |= {"presence_penalty": 0.5, "frequency_penalty": -1.0, "response_format": ResponseFormat(SCHEMA)}
    rules = [Message("system", (TextPart("Be brief."),)), Message("developer", (TextPart("Be kind."),))]
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]
    theirs = {"temperature": 0.0, "topP": 0.5, "topK": 7, "seed": 1, "stopSequences": ["END", "\n"]}
    theirs |= {"presencePenalty": 0.5, "frequencyPenalty": -1.0, "maxOutputTokens": 3000}
    theirs |= {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    body = {"contents": [USER_TURN], "generationConfig": theirs, "safetySettings": safety}
    body["systemInstruction"] = {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert await sent_body(make_request(*rules, HELLO, model=OLD, **ours), safety_settings=safety) == body


async def test_tools_are_declared_by_their_json_schema() -> None:
    body = await sent_body(make_request(tools=(Tool("weather", "Says the weather", SCHEMA), Tool("now"))))
    weather = {"name": "weather", "description": "Says the weather", "parametersJsonSchema": SCHEMA}
    assert body["tools"] == [{"functionDeclarations": [weather, {"name": "now"}]}]
    assert "toolConfig" not in body


@pytest.mark.parametrize(("fields", "config"), CHOICES)
async def test_tool_choices_are_modes(fields: Any, config: Any) -> None:
    assert (await sent_body(make_request(**fields)))["toolConfig"] == {"functionCallingConfig": config}


@pytest.mark.parametrize(("model", "reasoning", "much"), THINKING)
async def test_thinking_fields_follow_the_models_generation(model: str, reasoning: Reasoning, much: Any) -> None:
    config = (await sent_body(make_request(model=model, reasoning=reasoning)))["generationConfig"]["thinkingConfig"]
    shown = reasoning.effort != "none" and reasoning.budget_tokens != 0
    assert config == {"includeThoughts": shown, "thinkingLevel" if isinstance(much, str) else "thinkingBudget": much}


@pytest.mark.parametrize(("url", "made"), IMAGES.items())
async def test_images_are_sent_or_pointed_at(url: str, made: Any) -> None:
    assert await turns(Message("user", (TextPart(""), ImagePart(url)))) == [{"role": "user", "parts": [made]}]


async def test_turns_of_the_same_side_are_one_and_the_user_begins() -> None:
    received = await turns(thought(TextPart("Hi.")), HELLO, Message("system", (TextPart("Be brief."),)), HELLO)
    texts_by_role = [(turn["role"], [part["text"] for part in turn["parts"]]) for turn in received]
    assert texts_by_role == [("user", [""]), ("model", ["Hi."]), ("user", ["Hello", "Hello"])]


async def test_results_of_one_turn_are_together_and_what_follows_is_apart() -> None:
    received = await turns(HELLO, thought(CALL, NEXT), result("{}"), result("late", id="c2"), HELLO)
    first = {"functionCall": {"id": "c1", "name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": SKIP}
    late = {"id": "c2", "name": "now", "response": {"result": "late"}}
    answers = [{"id": "c1", "name": "weather", "response": {}}, late]
    assert received == [
        USER_TURN,
        {"role": "model", "parts": [first, {"functionCall": {"id": "c2", "name": "now", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": answer} for answer in answers]},
        USER_TURN,
    ]


@pytest.mark.parametrize(("text", "response"), RESPONSES.items())
@pytest.mark.parametrize("is_error", [False, True])
async def test_results_are_objects(text: str, is_error: bool, response: Any) -> None:
    received = (await turns(HELLO, thought(CALL), result(text, PNG, is_error=is_error)))[2]["parts"]
    made = {"id": "c1", "name": "weather", "response": {"error": text} if is_error else response}
    assert received == [
        {"functionResponse": made | {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}}
    ]


async def test_models_before_gemini_3_get_no_ids_and_no_placeholder() -> None:
    received = await turns(HELLO, thought(CALL), result("sunny"), model=BEFORE)
    assert received[1]["parts"] == [{"functionCall": {"name": "weather", "args": {"city": "Rome"}}}]
    assert received[2]["parts"] == [{"functionResponse": {"name": "weather", "response": {"result": "sunny"}}}]


async def test_only_the_first_call_of_a_turn_without_a_signature_gets_the_placeholder() -> None:
    signed = ToolCallPart("c1", "weather", "{}", "signed")
    received = await turns(HELLO, thought(TextPart("Well"), signed, NEXT), result("5"), thought(CALL, NEXT), HELLO)
    signatures = [[part.get("thoughtSignature") for part in turn["parts"]] for turn in received]
    assert signatures == [[None], [None, "signed", None], [None], [SKIP, None], [None]]


async def test_signatures_make_the_round_trip() -> None:
    sent: list[Any] = [{"text": "Italy.", "thought": True, "thoughtSignature": "s1"}, {"text": "Let me see."}]
    sent += [{"text": "", "thoughtSignature": "s2"}]
    sent += [{"functionCall": {"id": "c1", "name": "weather", "args": {}}, "thoughtSignature": "s3"}]
    parts: list[Part] = []
    for event in await answered(*(piece(part) for part in sent), piece(finish="STOP")):
        match event:
            case ReasoningDelta(text, opaque):
                parts.append(ReasoningPart(text, opaque))
            case ChatDelta(text):
                parts.append(TextPart(text))
            case ToolCallDelta(_, str(id), str(name), arguments, opaque):
                parts.append(ToolCallPart(id, name, arguments, opaque))
    assert (await turns(HELLO, thought(*parts), HELLO))[1]["parts"] == sent


async def test_thoughts_of_others_are_left_out() -> None:
    foreign = (ReasoningPart("hm", "of another vendor"), ReasoningPart("", "EqQB"), ReasoningPart("hm"))
    assert (await turns(HELLO, thought(*foreign, TextPart("Hi.")), HELLO))[1]["parts"] == [{"text": "Hi."}]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("names", make_request(Message("user", HELLO.parts, "ada"), Message("user", HELLO.parts, "bob"))),
        ("n", make_request(n=2)),
        ("presence_penalty", make_request(presence_penalty=0.5)),
        ("frequency_penalty", make_request(frequency_penalty=0.5, model=BEFORE)),
        ("stop", make_request(stop=tuple("abcdef"))),
        ("reasoning", make_request(model=OLD, reasoning=Reasoning("low"))),
        ("response_format", make_request(model=BEFORE, tools=STRICT, response_format=ResponseFormat())),
        ("images", make_request(HELLO, Message("system", (PNG,)))),
        ("tool_result_images", make_request(HELLO, thought(CALL), result(PNG), model=BEFORE)),
        ("tool_result_images", make_request(HELLO, thought(CALL), result(REMOTE))),
        ("messages", make_request(HELLO, thought(TextPart("It")))),
        ("messages", make_request(HELLO, thought(ToolCallPart("c1", "t", "{")), HELLO)),
        ("messages", make_request(HELLO, thought(ToolCallPart("c1", "t", "[]")), HELLO)),
        ("messages", make_request(HELLO, result("sunny"))),
        ("messages", make_request(Message("user", (ImagePart("data:image/png,AA"),)))),
        ("messages", make_request(Message("user", (TextPart(""),)))),
    ],
)
async def test_unsupported_requests_are_refused_before_anything_is_sent(field: str, wrong: ChatRequest) -> None:
    with pytest.raises(Invalid) as caught:
        refuse_unsupported(lane(), wrong)
    assert caught.value.field == field


async def test_models_before_3_6_may_go_on_with_their_own_turn() -> None:
    assert (await turns(HELLO, thought(TextPart("It")), model="gemini-3.5-flash"))[-1]["role"] == "model"


@pytest.mark.parametrize(("model", "path"), PATHS.items())
async def test_it_asks_the_operators_vendor_with_the_credential_in_a_header(model: str, path: str) -> None:
    wire = FakeWire(stream(piece(finish="STOP")))
    opened = lane(base_url="https://vendor.test/v1beta/", extra_headers={"X-Title": "kaixu", "user-agent": "ours"})
    await check_lane(opened, make_request(model=model), wire)
    request = wire.requests[0]
    assert str(request.url) == f"https://vendor.test/v1beta/{path}:streamGenerateContent?alt=sse"
    headers = {"host": "vendor.test", "content-type": "application/json", "x-goog-api-key": "sk-test"}
    headers |= {"user-agent": "ours", "x-title": "kaixu", "content-length": request.headers["content-length"]}
    assert dict(request.headers) == headers


@pytest.mark.parametrize("options", [{}, {"api_key": "k", "api_kee": "k"}, {"api_key": "k", "base_url": "file:///etc"}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        GeminiOptions.model_validate(options)


def test_secrets_do_not_show() -> None:
    assert "sk-" not in repr(GeminiOptions.model_validate({"api_key": "sk-1", "extra_headers": {"x-key": "sk-2"}}))


async def test_events_come_in_order_with_running_totals_and_one_finish_last() -> None:
    early = {"promptTokenCount": 9, "thoughtsTokenCount": 3, "totalTokenCount": 12}
    late = {"promptTokenCount": 8, "toolUsePromptTokenCount": 2, "cachedContentTokenCount": 4}
    assert await answered(
        piece({"text": "Greet.", "thought": True}, usageMetadata=early),
        piece({"text": "Hel"}, finish="STOP"),
        piece({"text": "lo", "thoughtSignature": "s"}, {"executableCode": {}}, "?", finish="STOP"),
        {"usageMetadata": late | {"candidatesTokenCount": 2, "thoughtsTokenCount": 3}, "error": None},
        {"usageMetadata": {"candidatesTokenCount": 1, "promptTokenCount": "?"}, "candidates": None},
    ) == [
        ReasoningDelta("Greet."),
        Usage(9, 3, reasoning_tokens=3),
        ChatDelta("Hel"),
        ChatDelta("lo"),
        ReasoningDelta("", "gemini:s"),
        *[Usage(10, 5, cached_input_tokens=4, reasoning_tokens=3)] * 2,
        Finish("stop"),
    ]


async def test_calls_come_whole_with_ids_of_their_own_where_the_vendor_gives_none() -> None:
    call, other = {"functionCall": {"name": "now", "args": {"a": 1}}}, {"functionCall": {"name": "now", "id": "v2"}}
    received = await answered(piece(call, {"functionCall": {}}), piece(call, other), piece(finish="STOP"))
    ids = [event.id or "" for event in received if isinstance(event, ToolCallDelta)]
    assert [id.partition("_")[0] for id in ids] == ["call", "call", "v2"]
    assert len(set(ids)) == 3
    calls = [ToolCallDelta(at, id, "now", "{}" if at == 2 else '{"a":1}') for at, id in enumerate(ids)]
    assert received == [*calls, Finish("tool_calls")]


@pytest.mark.parametrize(("theirs", "ours"), FINISHES.items())
async def test_finish_reasons_are_translated(theirs: str, ours: str | None) -> None:
    assert await answered(piece({"text": "a"}, finish=theirs)) == [ChatDelta("a"), Finish(ours or theirs.lower())]


async def test_a_prompt_that_is_blocked_is_a_filtered_answer() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    assert await answered(blocked) == [Usage(4), Finish("content_filter")]


@pytest.mark.parametrize("in_a_list", [False, True])
async def test_a_whole_answer_becomes_events(in_a_list: bool) -> None:
    whole = piece({"text": "Hello"}, finish="STOP", usageMetadata={"promptTokenCount": 1, "candidatesTokenCount": 2})
    wire = FakeWire(json_answer([piece({"text": ""}), whole] if in_a_list else whole))
    assert await check_lane(lane(), make_request(), wire) == [ChatDelta("Hello"), Usage(1, 2), Finish("stop")]


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (stream(piece({"text": "a"}), {"error": {"code": 500, "message": SECRET}}), UpstreamError, "reported"),
        (stream({"error": {"status": "RESOURCE_EXHAUSTED", "message": SECRET}}), UpstreamBusy, "limit"),
        (json_answer([{"error": {"status": "UNAVAILABLE", "message": SECRET}}]), UpstreamBusy, "limit"),
        (stream(piece({"text": "a"}), '{"candidates": [{"con' + SECRET), UpstreamError, "cannot be read"),
        (stream("[]"), UpstreamError, "cannot be read"),
        (stream(piece({"text": "a"})), UpstreamError, "broke off"),
        (stream({"candidates": 7}, {"candidates": [{"content": {"parts": 7}}]}), UpstreamError, "broke off"),
        (Answer(200, {"content-type": "text/html"}, [b"<html>" + SECRET.encode()]), UpstreamError, "broke off"),
        (json_answer({}), UpstreamError, "broke off"),
        (Answer(200, {"content-type": "application/json"}, [SECRET.encode()]), UpstreamError, "cannot be read"),
        (Answer(200, {"content-type": "text/event-stream"}, [b'data: "\xff"\n\n']), UpstreamError, "cannot be read"),
    ],
)
async def test_a_failing_vendor_is_an_upstream_error_without_its_text(answer: Answer, error: Any, says: str) -> None:
    wire = FakeWire(answer)
    with pytest.raises(error, match=says) as caught:
        await check_lane(lane(), make_request(), wire)
    assert SECRET not in str(caught.value)
    assert wire.open == 0


async def test_a_connection_that_breaks_is_ignored_after_the_end_and_an_error_before_it() -> None:
    pieces = piece({"text": "a"}, finish="STOP"), piece({"text": "a"})
    wire = FakeWire(*(stream(one, broken=httpx.ReadError("gone")) for one in pieces))
    assert await check_lane(lane(), make_request(), wire) == [ChatDelta("a"), Finish("stop")]
    with pytest.raises(httpx.ReadError):
        await check_lane(lane(), make_request(), wire)


async def embedded(answer: Any, *texts: str, model: str = "gemini-embedding-001", **fields: Any) -> Any:
    """The vectors, the method that was called, and its body."""
    wire = FakeWire(json_answer(answer))
    vectors = await lane().embed(EmbedRequest(model, texts, **fields), wire)
    return vectors, wire.requests[0].url.path.rpartition(":")[2], json.loads(wire.requests[0].content)


async def test_one_input_is_embedded_alone_and_counted_where_the_vendor_does_not() -> None:
    got, method, body = await embedded({"embedding": {"values": [3, 4.0]}}, "Hello", purpose="query", truncate=True)
    sent_body = {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "Hello"}]}}
    assert got == Embeddings(((3.0, 4.0),), Usage(2, estimated=True))
    assert (method, body) == ("embedContent", sent_body | {"taskType": "RETRIEVAL_QUERY"})


async def test_several_inputs_go_together_and_shortened_vectors_have_length_one() -> None:
    answer = {"embeddings": [{"values": [3, 4]}, {"values": [0, 0]}], "usageMetadata": {"promptTokenCount": 6}}
    got, method, body = await embedded(answer, "a", "b", dimensions=2, purpose="document")
    each = {"model": "models/gemini-embedding-001", "outputDimensionality": 2, "taskType": "RETRIEVAL_DOCUMENT"}
    assert got == Embeddings(((0.6, 0.8), (0.0, 0.0)), Usage(6))
    requests = [each | {"content": {"parts": [{"text": text}]}} for text in ("a", "b")]
    assert (method, body) == ("batchEmbedContents", {"requests": requests})


@pytest.mark.parametrize(("purpose", "text"), PURPOSES.items())
async def test_the_second_generation_gets_the_purpose_as_a_text_prefix(purpose: Any, text: str) -> None:
    got = await embedded({"embedding": {"values": [1]}}, "a", model="gemini-embedding-2", purpose=purpose)
    assert got[2] == {"model": "models/gemini-embedding-2", "content": {"parts": [{"text": text}]}}


@pytest.mark.parametrize("answer", [{"embeddings": [{"values": [1]}]}, {"embeddings": [{"values": "A"}] * 2}, {}, []])
async def test_invalid_vectors_are_an_upstream_error(answer: Any) -> None:
    with pytest.raises(UpstreamError):
        await embedded(answer, "a", "b")

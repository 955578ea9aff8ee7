"""Embeddings in the gateway's own process: the mean of a text's token vectors, from the model in `wordllama`.

Only its two data files are used, not its code, which pads every text of a batch
to the longest (one of a megabyte among 63 short ones would take 20 GB), sets up
logging for the whole process and imports an HTTP client. The first call takes
0.2 s instead of 0.5 s; a test checks that the vectors are the same.
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
#: Valid lengths: the first numbers of a vector are a vector too (Matryoshka training).
SIZES = (64, 128, 256)
#: `<s>`, the only token of an empty text in Llama's tokenizer.
BEGINNING = 1
#: Batches at the same time. Measured on two cores with 16 callers, each with 100 texts of 100 words: 8,000 texts/s and
#: 3 ms delay of the event loop (p99). One at a time: 5,000 and 2 ms; all at once: 6,500 and 20 ms, because they compete
#: for the interpreter's lock.
AT_ONCE = 2
LOADING = Lock()


class Model(msgspec.Struct, frozen=True):
    """A tokenizer and a vector for each of its tokens. It has no length limit."""

    tokenizer: Tokenizer
    vectors: numpy.ndarray

    def embed(self, texts: list[str], size: int) -> Embeddings:
        """One vector of unit length for each text, and the number of tokens."""
        # Unlike `encode`, this releases the interpreter's lock.
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        tokens = [encoding.ids or [BEGINNING] for encoding in encodings]
        vectors = tuple(self.direction(ids, size) for ids in tokens)
        return Embeddings(vectors, Usage(input_tokens=sum(map(len, tokens))))

    def direction(self, ids: list[int], size: int) -> array[float]:
        """The normalized mean of the tokens' vectors. Memory depends on the vocabulary, not on the number of tokens."""
        import numpy

        seen, counts = numpy.unique(ids, return_counts=True)
        total = counts.astype(numpy.float32) @ self.vectors[seen, :size]
        return array("f", (total / numpy.linalg.norm(total)).astype(numpy.float32).tobytes())


class Embedder:
    """Embeds for one lane in threads; all lanes of the process share the model."""

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(AT_ONCE)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Lane.embed`. `purpose`, `truncate` and `user` have no effect.

        Raises `PluginError` if the model is not installed.
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
    """The package's folder. Raises `PluginError` if the model is not in it."""
    spec = find_spec("wordllama")
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    if folder is None or not all((folder / file).is_file() for file in (WEIGHTS, TOKENIZER)):
        raise PluginError("local embeddings need the package `wordllama` with its model: pip install 'kaixu[local]'")
    return folder


def model() -> Model:
    """The model. The first caller loads it; others wait."""
    with LOADING:
        return loaded()


@cache
def loaded() -> Model:
    """The model: 18 MB of files, 70 MB of memory with its libraries."""
    folder = installed()
    # One thread for each batch. The tokenizer's own threads would make a single batch faster (9,000 texts/s instead of
    # 6,000), but 16 callers gain nothing, and the event loop waits 7 ms instead of 3. The operator can override it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import numpy
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    weights = load_file(folder / WEIGHTS)["embedding.weight"]
    return Model(Tokenizer.from_file(str(folder / TOKENIZER)), weights.astype(numpy.float32))

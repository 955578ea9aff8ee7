"""The contract tests of embedding lanes: subclass `EmbeddingContract`, define how your vendor answers, run pytest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import httpx

from kaixu.plugin.errors import KaixuError, UpstreamError
from kaixu.plugin.lane import Lane
from kaixu.plugin.types import EmbedRequest, Usage

from .checks import must
from .failures import STATUSES, CapturedLog, error_of
from .wire import Answer, FakeWire, Reply, json_answer


class EmbeddingContract:
    """The contract of embedding lanes."""

    #: Whether the vendor reports usage.
    reports_usage: ClassVar[bool] = True

    secret: ClassVar[str] = "sk-secret-of-the-operator"  # noqa: S105
    model: ClassVar[str] = "vendor-model"

    def lane(self) -> Lane:
        """A new lane."""
        raise NotImplementedError("create your lane here")

    def gives(self, vectors: Sequence[Sequence[float]], usage: Usage) -> Answer:
        """The vendor's complete answer with `vectors`, in order."""
        raise NotImplementedError("return the answer of your vendor here")

    def test_each_input_gets_its_vector_in_order(self) -> None:
        expected = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
        count = min(3, self.lane().max_batch)
        wire = FakeWire(self.gives(expected[:count], Usage(7)))
        answer = asyncio.run(self.lane().embed(EmbedRequest(self.model, ("a", "b", "c")[:count]), wire))
        must([list(vector) for vector in answer.vectors] == expected[:count], f"the vectors are {answer.vectors!r}")
        usage = answer.usage
        expected_tokens = (7,) if self.reports_usage else (0, 7)
        must(usage.input_tokens in expected_tokens or usage.estimated, f"the usage is {usage!r}")
        must(wire.open == 0, "the response stays open")
        must(
            self.model.encode() in str(wire.requests[0].url).encode() + wire.requests[0].content,
            "the model was not sent",
        )

    def test_what_the_vendor_refuses_goes_through_as_it_is(self) -> None:
        for status in STATUSES:
            self.failed(json_answer({"error": {"message": f"no, {self.secret}"}}, status))

    def test_nonsense_is_an_error_of_the_vendor(self) -> None:
        for nonsense in (
            b"",
            b"<html>",
            b"[]",
            b"17",
            b"null",
            b'{"data": 3}',
            b'{"data": [{"embedding": "x"}]}',
            b"\xff",
        ):
            error = self.failed(Answer(200, {"content-type": "application/json"}, [nonsense]))
            must(isinstance(error, UpstreamError), f"{nonsense!r} must be an UpstreamError, it is {error!r}")

    def test_a_vendor_that_breaks_off_is_an_error(self) -> None:
        whole = self.gives([[1.0, 2.0]], Usage(3))
        data = b"".join(whole.chunks)
        self.failed(Answer(whole.status, whole.headers, [data[: len(data) // 2]], httpx.ReadError("gone")))
        self.failed(httpx.ConnectError("refused"))

    def failed(self, answer: Reply) -> BaseException:
        """The error of a call that gets `answer`."""
        wire = FakeWire(answer)

        async def ask() -> None:
            await self.lane().embed(EmbedRequest(self.model, ("a",)), wire)

        with CapturedLog() as log:
            error = error_of(ask)
        must(error is not None, f"{answer!r} was accepted as an answer")
        assert error is not None
        must(isinstance(error, KaixuError | httpx.HTTPError), f"{answer!r} raised {error!r}: a bug in the lane")
        for text in (str(error), repr(error), *log.lines):
            must(self.secret not in text, f"the secret appears in {text!r}")
        return error

"""Models served by Ollama, through its official client. The one module that knows that provider: its errors end here.

The host comes from OLLAMA_HOST (the client reads it). Temperature 0 and a fixed seed make answers repeat as far as the
server can.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from wfe.agent.events import Heard, Pulled, Tell
from wfe.agent.model import DEFAULT_MODEL, Message, ModelFailure, Watch
from wfe.agent.verdict import Unusable, Verdict

# The server's own default of 4,096 tokens of context cuts a prompt's beginning off without a word.
OPTIONS: dict[str, Any] = {"temperature": 0, "num_ctx": 16384, "num_predict": 6144}
TRIES = 3
"""How often a question is put when the connection is lost in the middle or the server is overloaded."""


class OllamaModel:
    """A model of an Ollama server.

    silence: seconds without a byte after which a request counts as lost (loading a large model takes minutes).
    longest: seconds one whole answer may take. pause: waits between tries (seconds).
    """

    def __init__(
        self,
        name: str = DEFAULT_MODEL,
        seed: int = 0,
        *,
        host: str | None = None,
        silence: float = 300.0,
        longest: float = 1200.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._host = host or os.environ.get("OLLAMA_HOST") or "127.0.0.1:11434"
        try:
            import httpx
            import ollama  # makes a client of its own for OLLAMA_HOST, so that a wrong address ends the import

            self._client = ollama.Client(host=host, timeout=httpx.Timeout(30.0, connect=10.0, read=silence))
        except ImportError as error:
            raise ModelFailure(
                "the package `ollama` is not installed", hint="install it: `uv add 'wfe[agent]'`"
            ) from error
        except (ValueError, httpx.InvalidURL) as error:
            raise ModelFailure(
                f"OLLAMA_HOST={self._host!r} is no address: {error}", hint="for example 127.0.0.1:11434"
            ) from error
        self.name = name
        self.seed = seed
        self._longest = longest
        self._pause = pause
        self._digest = ""

    def prepare(self, tell: Tell, pull: bool = False) -> None:
        """As in Model."""
        self._digest = self._present().get(self._full(), "")
        if self._digest:
            return
        if not pull:
            raise self._absent()
        try:
            with self._translated():
                for step in self._client.pull(self.name, stream=True):
                    tell(Pulled(step.status or "", step.completed or 0, step.total or 0))
        except _Lost as lost:
            raise ModelFailure(
                f"{self.name!r} could not be pulled: {lost}",
                hint="look whether a model of that name exists, and whether the server reaches the network",
            ) from lost
        self._digest = self._present().get(self._full(), "")
        if not self._digest:
            raise ModelFailure(
                f"the server pulled {self.name!r} and still does not have it", hint=f"try `ollama pull {self.name}`"
            )

    def digest(self) -> str:
        """As in Model: the digest of the model's manifest."""
        if not self._digest:
            self._digest = self._present().get(self._full(), "")
        if not self._digest:
            raise self._absent()
        return self._digest

    def ask(self, subject: str, messages: Sequence[Message], schema: Mapping[str, Any], tell: Tell) -> str:
        """As in Model."""
        for attempt in range(1, TRIES + 1):
            try:
                with self._translated():
                    return self._stream(subject, messages, schema, tell)
            except _Lost as lost:
                if attempt == TRIES:
                    raise ModelFailure(
                        f"{lost} ({TRIES} times)", hint="look at `ollama ps` and at the server's log"
                    ) from lost
                self._pause(0.5 * attempt)
        raise AssertionError("BUG: the last try raises or returns")

    def _stream(self, subject: str, messages: Sequence[Message], schema: Mapping[str, Any], tell: Tell) -> str:
        watch = Watch()
        end = time.monotonic() + self._longest
        stream: Any = self._client.chat(
            model=self.name,
            messages=[{"role": message.role, "content": message.content} for message in messages],
            format=dict(schema),
            options={**OPTIONS, "seed": self.seed},
            stream=True,
        )
        # A generator: closing it closes the connection, which stops the model, also at Ctrl-C.
        with closing(stream):
            for part in stream:
                piece = part.message.content or ""
                tell(Heard(subject, piece))
                why = watch.hear(piece)
                if not why and time.monotonic() > end:
                    why = f"an answer that was not done after {self._longest:g} s"
                if why:
                    raise Unusable(
                        [Verdict("answer", "a short, complete answer", why, "answer briefly and stop")], watch.text
                    )
                if part.done:
                    if part.done_reason == "length":
                        raise Unusable(
                            [
                                Verdict(
                                    "answer",
                                    "a complete answer",
                                    "one cut off at the model's limit of tokens",
                                    "write less",
                                )
                            ],
                            watch.text,
                        )
                    return watch.text
        raise self._lost("the stream ended before the answer did")

    def _present(self) -> dict[str, str]:
        """name -> digest of the models that the server has."""
        with self._translated():
            return {str(one.model): str(one.digest or one.model) for one in self._client.list().models}

    def _full(self) -> str:
        return self.name if ":" in self.name.rpartition("/")[2] else f"{self.name}:latest"

    def _absent(self) -> ModelFailure:
        return ModelFailure(
            f"the model {self.name!r} is not on the server at {self._host}",
            hint=f"run `ollama pull {self.name}`, or say --pull",
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of the client, of its HTTP library and of its data classes -> ours."""
        import httpx
        import ollama
        import pydantic

        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._unreachable() from error
        except (
            httpx.HTTPError,
            json.JSONDecodeError,
            UnicodeDecodeError,
            pydantic.ValidationError,
            TypeError,
        ) as error:
            raise self._lost(str(error) or type(error).__name__) from error
        except ConnectionError as error:  # the client's own word for httpx.ConnectError
            raise self._unreachable() from error
        except ollama.ResponseError as error:
            if error.status_code == 404:
                raise self._absent() from error
            if error.status_code in (429, 500, 502, 503, 504, -1):
                raise self._lost(str(error.error)) from error
            raise ModelFailure(f"the model server at {self._host} refused: {error.error}") from error

    def _lost(self, why: str) -> _Lost:
        return _Lost(f"the model server at {self._host} broke off: {why}")

    def _unreachable(self) -> ModelFailure:
        return ModelFailure(
            f"no model server at {self._host}", hint="start it with `ollama serve`, or set OLLAMA_HOST to where it runs"
        )


class _Lost(ModelFailure):
    """The connection or the server failed in a way that may pass."""

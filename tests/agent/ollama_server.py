"""A server that speaks Ollama's HTTP protocol over loopback, with answers from a script instead of from a model.

Routes: GET /api/tags, GET /api/ps, POST /api/show, POST /api/pull, POST /api/chat (streamed NDJSON or one object). It
refuses what the real one refuses: an unknown model, a body that is no JSON, a chat without messages. Every request is
recorded.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle, islice
from typing import Any


@dataclass
class Reply:
    """How the server answers one chat.

    text: the model's words, sent in pieces of `piece` characters. endless: repeat the text until the client goes away.
    status: an HTTP error instead. error: an error object in the middle of the stream. cut: close the connection after
    so many pieces. garbage: a line that is no JSON. hang: send nothing until the server ends. done: False leaves the
    last line out.
    """

    text: str = ""
    piece: int = 24
    endless: bool = False
    status: int = 200
    error: str = ""
    cut: int | None = None
    garbage: bool = False
    hang: bool = False
    done: bool = True
    reason: str = "stop"


Answer = Callable[[dict[str, Any]], Reply | str | dict[str, Any]]


@dataclass
class OllamaServer:
    """`answer` gets the body of each chat. `models`: what it has; `pullable`: what it can fetch."""

    answer: Answer
    models: list[str] = field(default_factory=lambda: ["qwen2.5-coder:7b"])
    pullable: list[str] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    host: str = ""
    weights: str = ""  # other weights under the same names
    ended: threading.Event = field(default_factory=threading.Event)
    client_left: threading.Event = field(default_factory=threading.Event)

    @property
    def chats(self) -> list[dict[str, Any]]:
        return [body for path, body in self.requests if path == "/api/chat"]


def digest_of(model: str) -> str:
    return sha256(model.encode()).hexdigest()


def _handler(server: OllamaServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """The tests look at `requests`."""

        def do_GET(self) -> None:
            server.requests.append((self.path, {}))
            if self.path == "/api/tags":
                self._json({"models": [self._tag(name) for name in server.models]})
            elif self.path == "/api/ps":
                self._json({"models": [{**self._tag(name), "size_vram": 0} for name in server.models[:1]]})
            else:
                self._json({"error": "not found"}, 404)

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                body = json.loads(raw)
            except ValueError as error:
                return self._json({"error": str(error)}, 400)
            server.requests.append((self.path, body))
            route = {"/api/show": self._show, "/api/pull": self._pull, "/api/chat": self._chat}.get(self.path)
            if route is None:
                return self._json({"error": "not found"}, 404)
            route(body)
            return None

        def _tag(self, name: str) -> dict[str, Any]:
            return {
                "name": name,
                "model": name,
                "modified_at": "2026-01-02T03:04:05Z",
                "size": 4683087332,
                "digest": digest_of(name + server.weights),
                "details": {
                    "format": "gguf",
                    "family": "qwen2",
                    "parameter_size": "7.6B",
                    "quantization_level": "Q4_K_M",
                },
            }

        def _show(self, body: dict[str, Any]) -> None:
            if body.get("model") not in server.models:
                return self._json({"error": f"model '{body.get('model')}' not found"}, 404)
            self._json(
                {"details": self._tag(body["model"])["details"], "model_info": {}, "capabilities": ["completion"]}
            )
            return None

        def _pull(self, body: dict[str, Any]) -> None:
            self._start()
            self._line({"status": "pulling manifest"})
            if body["model"] not in server.pullable:
                self._line({"error": "pull model manifest: file does not exist"})
            else:
                for done in (0, 500, 1000):
                    self._line(
                        {"status": "pulling 60e05f210007", "digest": "sha256:60e0", "total": 1000, "completed": done}
                    )
                server.models.append(body["model"])
                self._line({"status": "success"})
            self._end()

        def _chat(self, body: dict[str, Any]) -> None:
            model = body.get("model", "")
            if model not in server.models and f"{model}:latest" not in server.models:
                return self._json({"error": f"model '{model}' not found"}, 404)
            if not body.get("messages"):
                return self._json({"error": "messages are missing"}, 400)
            answer = server.answer(body)
            if isinstance(answer, dict):
                answer = json.dumps(answer)
            reply = Reply(answer) if isinstance(answer, str) else answer
            if reply.status != 200:
                return self._json({"error": reply.error or "the server failed"}, reply.status)
            if reply.hang:
                server.ended.wait()
                self.close_connection = True
                return None
            try:
                self._stream(model, reply)
            except (BrokenPipeError, ConnectionResetError):
                server.client_left.set()
                self.close_connection = True
            return None

        def _stream(self, model: str, reply: Reply) -> None:
            self._start()
            base = {"model": model, "created_at": "2026-01-02T03:04:05Z"}
            pieces: Iterator[str] = (reply.text[at : at + reply.piece] for at in range(0, len(reply.text), reply.piece))
            if reply.endless:
                pieces = cycle(list(pieces))
            for number, piece in enumerate(islice(pieces, 10_000_000)):
                if reply.cut == number:
                    self.close_connection = True
                    self.connection.close()
                    return
                self._line({**base, "message": {"role": "assistant", "content": piece}, "done": False})
            if reply.garbage:
                self.wfile.write(self._chunk(b'{"model": "qw\n'))
            if reply.error:
                self._line({"error": reply.error})
            elif reply.done:
                last = {
                    "done": True,
                    "done_reason": reply.reason,
                    "total_duration": 1,
                    "eval_count": 1,
                    "prompt_eval_count": 1,
                }
                self._line({**base, "message": {"role": "assistant", "content": ""}, **last})
            self._end()

        def _json(self, value: Any, status: int = 200) -> None:
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _start(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()

        def _chunk(self, text: bytes) -> bytes:
            return b"%x\r\n%s\r\n" % (len(text), text)

        def _line(self, value: Any) -> None:
            self.wfile.write(self._chunk(json.dumps(value).encode() + b"\n"))

        def _end(self) -> None:
            self.wfile.write(b"0\r\n\r\n")

    return Handler


@contextmanager
def serving(answer: Answer, **settings: Any) -> Iterator[OllamaServer]:
    """A running server on a free port of the loopback address; `host` is what OLLAMA_HOST takes."""
    server = OllamaServer(answer, **settings)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(server)) as http:
        http.daemon_threads = True
        http.block_on_close = False
        server.host = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            http.shutdown()
            thread.join()


def in_turn(*replies: Reply | str | dict[str, Any]) -> Answer:
    """Answers one after the other; the last one is repeated."""
    left = list(replies)

    def answer(body: dict[str, Any]) -> Reply | str | dict[str, Any]:
        del body
        return left.pop(0) if len(left) > 1 else left[0]

    return answer

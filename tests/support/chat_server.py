"""A chat server on this computer: as much of OpenAI's protocol as describers speak.

Switches make it slow, broken, huge, or send others elsewhere, as servers and networks do.
"""

from __future__ import annotations

import json
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class ChatServer:
    """What the server says, how it misbehaves, and what it was asked.

    Attributes
    ----------
    models : list
        Names of its models.
    pieces : list
        What an answer consists of, each piece an event of its own.
    pause : float
        Seconds before each piece.
    held : int
        Number of pieces after which nothing comes before ``go`` is set; -1 for none.
    streams : bool
        Whether it streams; else the answer comes as one JSON text.
    raw : bytes
        Sent in place of events, as they are.
    halves : int
        Bytes of these that come first, the rest a little later.
    kind : str
        The content type it states.
    status, refusal : int, object
        What it refuses everything with, as JSON.
    answers : int
        Number of questions that it answers before it fails; -1 for all.
    moved : str
        Address that everything is handed on to.
    endless : bool
        Whether pieces come without an end.
    ends : bool
        Whether the answer has an end, or the connection breaks.
    ending : str
        Why it has one, as servers say it.
    no_stream : bool
        Whether it refuses to stream, and answers as a whole.
    asked : list
        The bodies of the questions.
    headers : list
        Those of all requests.
    gone : Event
        Set once whoever asked has closed the connection before the end.
    """

    url: str = ""
    models: list[str] = field(default_factory=lambda: ["tiny-vision"])
    pieces: list[str] = field(default_factory=lambda: ["A red ", "bus ", "in a street."])
    pause: float = 0.0
    held: int = -1
    streams: bool = True
    raw: bytes = b""
    halves: int = 0
    kind: str = ""
    status: int = 0
    refusal: Any = None
    answers: int = -1
    moved: str = ""
    endless: bool = False
    ends: bool = True
    ending: str = "stop"
    no_stream: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    go: Event = field(default_factory=Event)
    begun: Event = field(default_factory=Event)
    gone: Event = field(default_factory=Event)

    @property
    def prompts(self) -> list[str]:
        """The words of each question."""
        return [asked["messages"][0]["content"][0]["text"] for asked in self.asked]

    @property
    def pictures(self) -> list[str]:
        """The pictures of each question, as addresses that hold them."""
        return [asked["messages"][0]["content"][1]["image_url"]["url"] for asked in self.asked]


def event(text: str, finish: str | None = None) -> bytes:
    """One event with a piece of an answer."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


class _Handler(BaseHTTPRequestHandler):
    chat: ChatServer

    def do_GET(self) -> None:
        self._note()
        if not self._refuse():
            self._json({"data": [{"id": name} for name in self.chat.models]})

    def do_POST(self) -> None:
        chat = self.chat
        self._note()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chat.asked.append(json.loads(body))
        if self._refuse():
            return
        if 0 <= chat.answers < len(chat.asked):
            self._json({"error": {"message": "out of memory"}}, 500)
            return
        if chat.asked[-1]["model"] not in chat.models:
            said = f"model '{chat.asked[-1]['model']}' not found"
            self._json({"error": {"message": said}}, 404)
        elif chat.no_stream and chat.asked[-1]["stream"]:
            self._json({"error": {"message": "stream is not supported"}}, 400)
        elif chat.streams and not chat.no_stream:
            with suppress(OSError):
                self._stream()
        else:
            text = "".join(chat.pieces)
            self._json({"choices": [{"message": {"content": text}, "finish_reason": chat.ending}]})

    def _note(self) -> None:
        self.chat.headers.append(dict(self.headers))
        self.chat.paths.append(self.path)

    def _refuse(self) -> bool:
        chat = self.chat
        if chat.moved:
            self.send_response(307)
            self.send_header("Location", chat.moved)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif chat.status:
            self._json(chat.refusal, chat.status)
        return bool(chat.moved or chat.status)

    def _json(self, value: object, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", self.chat.kind or "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self) -> None:
        chat = self.chat
        self.send_response(200)
        self.send_header("Content-Type", chat.kind or "text/event-stream")
        self.end_headers()
        self.close_connection = True
        if chat.raw:
            self.wfile.write(chat.raw[: chat.halves])
            self.wfile.flush()
            time.sleep(0.05 * bool(chat.halves))
            self.wfile.write(chat.raw[chat.halves :])
            return
        count = 0
        while chat.endless or count < len(chat.pieces):
            if count == chat.held:
                chat.begun.set()
                self._wait()
            time.sleep(chat.pause)
            piece = chat.pieces[count % len(chat.pieces)]
            try:
                self.wfile.write(event(piece))
                self.wfile.flush()
            except OSError:
                chat.gone.set()
                raise
            count += 1
        if chat.ends:
            self.wfile.write(event("", chat.ending) + b"data: [DONE]\n\n")

    def _wait(self) -> None:
        """Wait for ``go``; note where whoever asks has gone meanwhile."""
        self.connection.settimeout(0.02)
        while not self.chat.go.is_set():
            try:
                if not self.connection.recv(1):
                    self.chat.gone.set()
                    raise ConnectionError
            except TimeoutError:
                continue

    def log_message(self, *_: object) -> None:
        """Be silent."""


@contextmanager
def serving() -> Iterator[ChatServer]:
    """Run a chat server at its ``url``, which ends in /v1, until the block is left."""
    chat = ChatServer()
    handler = type("Handler", (_Handler,), {"chat": chat})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    chat.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield chat
    finally:
        chat.go.set()
        chat.endless = False
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

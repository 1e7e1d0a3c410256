"""The protocol of OpenAI-compatible servers: which models there are, and one streamed answer.

A request runs on an event loop in a thread of its own, so that it can be stopped at any moment,
whatever it waits for; the connection is closed then, and servers stop to generate.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Any, TypeAlias

from napari_patchioner.errors import ModelError
from napari_patchioner.progress import Progress, no_progress

from .endpoint import Endpoint

Put: TypeAlias = Callable[[str], None]

_PAUSE_S = 0.05
# A thread that has not closed its connection by then looks up a name, and ends later.
_LEAVE_S = 1.0
# Of what a server says of an error, letters that are shown.
_SHOWN = 160
_END = "[DONE]"
# What the lines of a stream of events begin with.
_FIELDS = (b":", b"data", b"event", b"id", b"retry")
_TEXT_EVENTS, _JSON = "text/event-stream", "application/json"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one answer may take: bytes as they come, and seconds.

    ``connect`` is for the connection, ``silence`` between two pieces of the answer, of which the
    first may take long while a model is loaded, ``whole`` for all of it.
    """

    bytes: int = 4_000_000
    connect: float = 5.0
    silence: float = 300.0
    whole: float = 900.0


LIMITS = Limits()
"""The limits of every answer, unless others are given."""
LISTING = Limits(silence=10.0, whole=20.0)
"""Those of a list of models, for which nothing is generated."""


class ServerError(ModelError):
    """A server that cannot be asked, or does not answer as it should."""


class NoStream(ServerError):
    """A server that answers, but only as a whole."""


class CutOff(str):
    """The last piece of an answer that has reached its longest length: it goes on, unsaid."""


CUT_OFF = CutOff("…")
"""What stands at the end of an answer that is cut off."""


def list_models(
    endpoint: Endpoint, *, progress: Progress | None = None, limits: Limits = LISTING
) -> list[str]:
    """Return the names of the models that a server has, as it lists them.

    ``progress`` may raise ``Cancelled``. A `ServerError` in one sentence where they cannot be had.
    """

    async def work(put: Put) -> None:
        async with (
            asyncio.timeout(limits.whole),
            aclosing(_chunks(endpoint, "GET", "models", None, limits, [_JSON])) as chunks,
        ):
            put(b"".join([chunk async for chunk in chunks]).decode("utf-8", "replace"))

    parts: list[str] = []
    with closing(_running(endpoint, work, limits)) as pieces:
        for piece in pieces:
            parts.append(piece)
            (progress or no_progress)(0.0, "asking the server")
    entries = _parsed("".join(parts), endpoint).get("data")
    if not isinstance(entries, list):
        raise _strange(endpoint)
    names = [entry.get("id") for entry in entries if isinstance(entry, dict)]
    return [name for name in names if isinstance(name, str) and name]


def stream_chat(
    endpoint: Endpoint,
    model: str,
    content: Sequence[Mapping[str, Any]],
    *,
    most_tokens: int = 400,
    temperature: float = 0.0,
    limits: Limits = LIMITS,
) -> Generator[str, None, None]:
    """Ask a model one thing and yield the pieces of its answer as they come.

    Between them it yields empty texts, twenty a second, so that whoever waits can stop: closing
    the generator closes the connection at once.

    Parameters
    ----------
    endpoint : Endpoint
        The server.
    model : str
        Its name there.
    content : sequence of mappings
        Parts of one message of a user, see `text_part` and `picture_part`.
    most_tokens : int
        Longest answer.
    temperature : float
        0 gives the same answer each time, as far as the server keeps to that.
    limits : Limits
        Bytes and seconds that the answer may take.

    Yields
    ------
    str
        What has come since the last one; at the end `CUT_OFF` where ``most_tokens`` were not
        enough.

    Raises
    ------
    ServerError
        In one sentence: the host is not allowed, nothing answers there, the model is not there,
        or the answer makes no sense or is broken off.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": list(content)}],
        "stream": True,
        "max_tokens": most_tokens,
        "temperature": temperature,
    }

    async def ask(put: Put, body: Mapping[str, Any]) -> None:
        kinds, path = [_TEXT_EVENTS, _JSON], "chat/completions"
        async with aclosing(_chunks(endpoint, "POST", path, body, limits, kinds, model)) as chunks:
            await _read_answer(chunks, put, endpoint)

    async def work(put: Put) -> None:
        async with asyncio.timeout(limits.whole):
            try:
                await ask(put, body)
            except NoStream:
                await ask(put, {**body, "stream": False})

    yield from _running(endpoint, work, limits)


def text_part(text: str) -> dict[str, Any]:
    """Return words as a part of a message."""
    return {"type": "text", "text": text}


def picture_part(url: str) -> dict[str, Any]:
    """Return a picture as a part of a message, given as a ``data:`` address."""
    return {"type": "image_url", "image_url": {"url": url}}


def _running(
    endpoint: Endpoint, work: Callable[[Put], Coroutine[Any, Any, None]], limits: Limits
) -> Generator[str, None, None]:
    """Do work on a loop of its own and yield what it puts; closed, it is cancelled at once."""
    endpoint.check()
    arrived: Queue[str | BaseException | None] = Queue()
    # A task of the loop, once there is one; set before anything is put.
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []
    started = threading.Event()

    async def guarded() -> None:
        task = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        started.set()
        await work(arrived.put)

    def run() -> None:
        try:
            asyncio.run(guarded())
            arrived.put(None)
        except BaseException as error:
            arrived.put(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="patchioner-server", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = arrived.get(timeout=_PAUSE_S)
            except Empty:
                yield ""
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise _sentence(item, endpoint, limits) from item
            yield item
    finally:
        started.wait()
        if running and thread.is_alive():
            loop, task = running[0]
            with suppress(RuntimeError):  # The loop may have ended meanwhile.
                loop.call_soon_threadsafe(task.cancel)
        thread.join(_LEAVE_S)


async def _chunks(
    endpoint: Endpoint,
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    limits: Limits,
    kinds: Sequence[str],
    model: str = "",
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of an answer as they come, if it is one of these kinds."""
    import httpx2

    # What would send it elsewhere is followed nowhere; this machine is reached without a proxy.
    timeout = httpx2.Timeout(limits.silence, connect=limits.connect)
    headers = {"Accept": ", ".join(kinds), "Accept-Encoding": "identity"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    client = httpx2.AsyncClient(
        timeout=timeout, follow_redirects=False, trust_env=not endpoint.is_local
    )
    async with (
        client,
        client.stream(method, f"{endpoint.address}/{path}", json=body, headers=headers) as answer,
    ):
        if answer.is_redirect:
            target = httpx2.URL(answer.headers.get("Location", "")).netloc.decode()
            raise ServerError(
                f"{endpoint.name} hands on to {target or 'another address'}, which is not "
                "followed; give the address of the server itself."
            )
        if not answer.is_success:
            raise _refused(endpoint, answer.status_code, await _error_text(answer, limits), model)
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if kind not in kinds or coding not in ("", "identity"):
            raise _strange(endpoint)
        taken = 0
        async for chunk in answer.aiter_raw():
            taken += len(chunk)
            if taken > limits.bytes:
                raise ServerError(
                    f"{endpoint.name} sends more than {limits.bytes:,} bytes, which is no answer; "
                    "check the address and the model."
                )
            yield chunk


async def _error_text(answer: Any, limits: Limits) -> str:
    """Return what a server says of an error, as far as it fits a sentence."""
    data = b""
    async for chunk in answer.aiter_raw():
        data += chunk
        if len(data) > min(limits.bytes, 65536):
            break
    try:
        said: Any = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    return _message(said.get("error", said) if isinstance(said, dict) else said)


def _message(error: Any) -> str:
    """Return the message of an error as servers write them, on one line."""
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or ""
    line = " ".join(error.split()) if isinstance(error, str) else ""
    line = "".join(sign for sign in line if sign.isprintable())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


async def _read_answer(chunks: AsyncIterator[bytes], put: Put, endpoint: Endpoint) -> None:
    """Put the pieces of an answer: of events as they come, or of one JSON text."""
    said = False
    async for text in _texts(chunks, endpoint):
        if text == _END:
            return
        piece, ending = _piece(_parsed(text, endpoint), endpoint)
        if piece:
            said = True
            put(piece)
        if ending:
            if ending == "length":
                put(CUT_OFF)
            return
    when = "before it had ended" if said else "before it had begun"
    raise ServerError(
        f"The answer of {endpoint.name} broke off {when}; see what its window or log says."
    )


async def _texts(chunks: AsyncIterator[bytes], endpoint: Endpoint) -> AsyncIterator[str]:
    """Yield what the events of a stream hold; where there are none, all of the answer."""
    pending, data, plain = b"", list[bytes](), list[bytes]()
    # Whether a line came that no stream of events has
    is_other = False
    async for chunk in _ended(chunks):
        pending += chunk
        # Some servers do not stream, or call a stream JSON.
        if plain or (not data and pending.lstrip().startswith(b"{")):
            plain.append(pending)
            pending = b""
            continue
        *lines, pending = pending.replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].strip())
            elif not line.strip() and data:
                yield b"\n".join(data).decode("utf-8", "replace")
                data = []
            elif line.strip() and not line.startswith(_FIELDS):
                is_other = True
    if is_other:
        raise _strange(endpoint)
    if plain:
        yield b"".join(plain).decode("utf-8", "replace")


async def _ended(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks, and the empty line that ends an event, should it be missing."""
    async for chunk in chunks:
        yield chunk
    yield b"\n\n"


def _parsed(text: str, endpoint: Endpoint) -> dict[str, Any]:
    """Read a JSON object, whatever else comes."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _strange(endpoint) from error
    if not isinstance(parsed, dict):
        raise _strange(endpoint)
    return parsed


def _piece(answer: Mapping[str, Any], endpoint: Endpoint) -> tuple[str, str]:
    """Return the text of one event, or of a whole answer, and why it is the last, if it is."""
    if answer.get("error"):
        why = _scrubbed(_message(answer["error"]), endpoint)
        raise ServerError(f"{endpoint.name} stopped: {why or 'it does not say why'}.")
    choices = answer.get("choices")
    if not isinstance(choices, list):
        raise _strange(endpoint)
    if not choices:  # such as how many tokens it took
        return "", ""
    first = choices[0] if isinstance(choices[0], dict) else {}
    holder = first.get("delta") or first.get("message") or {}
    text = holder.get("content") if isinstance(holder, dict) else None
    if text is not None and not isinstance(text, str):
        raise _strange(endpoint)
    return text or "", str(first.get("finish_reason") or "")


def _refused(endpoint: Endpoint, status: int, why: str, model: str) -> ServerError:
    """Return what a server refuses, in one sentence."""
    why = _scrubbed(why, endpoint)
    said = f" ({why.rstrip('.')})" if why else ""
    if status in (401, 403):
        which = "another key" if endpoint.key else "a key"
        return ServerError(f"{endpoint.name} wants {which}{said}; give it in the settings.")
    if status < 500 and status != 429 and "stream" in why.lower():
        return NoStream(f"{endpoint.name} does not stream{said}; choose another model there.")
    if status == 404 and model and (not why or "model" in why.lower()):
        return ServerError(
            f"{endpoint.name} has no model {model!r}{said}; choose one that it lists, or load it "
            "there."
        )
    if status in (404, 405):
        return ServerError(
            f"{endpoint.address} is not there{said}; check the address, which mostly ends in /v1."
        )
    if status == 429 or status >= 500:
        return ServerError(
            f"{endpoint.name} cannot answer now, status {status}{said}; see what its window or "
            "log says."
        )
    return ServerError(
        f"{endpoint.name} refuses the question, status {status}{said}; a model that reads "
        "pictures is needed."
    )


def _strange(endpoint: Endpoint) -> ServerError:
    return ServerError(
        f"{endpoint.name} does not answer like an OpenAI-compatible server; check the address, "
        "which mostly ends in /v1."
    )


def _scrubbed(text: str, endpoint: Endpoint) -> str:
    """Return a text of the server without the key, should it repeat that."""
    return text.replace(endpoint.key, "…") if endpoint.key else text


def _sentence(error: BaseException, endpoint: Endpoint, limits: Limits) -> BaseException:
    """Return what went wrong between here and a server, in one sentence."""
    import httpx2

    where = endpoint.name
    if isinstance(error, (httpx2.ConnectTimeout, httpx2.ConnectError)):
        if "certificate" in str(error).lower():
            return ServerError(
                f"The certificate of {where} is not one that this computer trusts; ask whoever "
                "runs it."
            )
        return ServerError(f"Nothing answers at {where}; start the server, or check the address.")
    if isinstance(error, TimeoutError):
        return ServerError(
            f"{where} took more than {limits.whole:.0f} seconds; ask a smaller model, or for less."
        )
    if isinstance(error, httpx2.TimeoutException):
        return ServerError(
            f"{where} was silent for {limits.silence:.0f} seconds; see what its window or log says."
        )
    if isinstance(error, httpx2.ProxyError):
        return ServerError(f"The proxy does not reach {where}; check the network.")
    if isinstance(error, httpx2.HTTPError):
        return ServerError(f"The connection to {where} broke off; see whether the server runs.")
    if isinstance(error, (httpx2.InvalidURL, UnicodeError)):
        return ServerError(f"{where} cannot be asked; check the address.")
    return error

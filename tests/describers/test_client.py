"""The protocol, against a server on this computer that misbehaves on demand."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from chat_server import event, free_port, serving

from napari_patchioner.describers import (
    Endpoint,
    Limits,
    ServerError,
    is_cut_off,
    list_models,
    stream_chat,
)
from napari_patchioner.describers.client import text_part
from napari_patchioner.errors import Cancelled, ModelError

if TYPE_CHECKING:
    from chat_server import ChatServer

MODEL = "tiny-vision"
CONTENT = [text_part("What is it?")]


def answer(chat: ChatServer, key: str = "", model: str = MODEL, **limits: float) -> str:
    pieces = stream_chat(Endpoint(chat.url, key), model, CONTENT, limits=Limits(**limits))
    return "".join(pieces)


def test_an_answer_comes_in_pieces(chat):
    chat.held = 2
    with closing(stream_chat(Endpoint(chat.url), MODEL, CONTENT)) as pieces:
        begun = [next(filter(None, pieces)) for _ in range(2)]
        assert begun == ["A red ", "bus "]
        assert chat.begun.wait(20)
        chat.go.set()
        assert "".join(pieces) == "in a street."
    asked = chat.asked[0]
    assert (asked["model"], asked["stream"], asked["temperature"]) == (MODEL, True, 0.0)
    assert asked["messages"] == [{"role": "user", "content": CONTENT}]


def test_models_are_listed(chat):
    chat.models = ["llava:13b", "qwen"]
    assert list_models(Endpoint(chat.url)) == ["llava:13b", "qwen"]
    assert chat.paths == ["/v1/models"]


def test_a_server_that_does_not_stream_is_understood(chat):
    chat.streams = False
    assert answer(chat) == "A red bus in a street."


@pytest.mark.parametrize(
    "raw",
    [
        event("A bus.").replace(b"\n", b"\r\n") + b"data: [DONE]\r\n\r\n",
        b": comment\n\nevent: x\n" + event("A bus.", "stop"),
        event("A bus.", "stop").replace(b": [", b":\ndata: [", 1),
        event("A bus.") + b'data: {"choices": [], "usage": {}}\n\ndata: [DONE]\n\n',
        event("A bus.") + b"data: [DONE]",
        b'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n' + event("A bus.", "stop"),
    ],
    ids=["crlf", "comments", "lines", "usage", "no end of line", "role"],
)
def test_streams_as_servers_write_them_are_read(chat, raw):
    chat.raw = raw
    assert answer(chat) == "A bus."


def test_a_key_that_is_refused_is_another_one(chat):
    chat.status, chat.refusal = 401, {"error": {"message": "bad key"}}
    with pytest.raises(ServerError, match=r"wants another key \(bad key\)"):
        answer(chat, "sk-wrong")


@pytest.mark.parametrize("streams", [True, False])
def test_an_answer_that_is_cut_off_says_so(chat, streams):
    chat.streams, chat.ending, chat.pieces = streams, "length", ["A cup ", "on a"]
    *_, last = filter(None, stream_chat(Endpoint(chat.url), MODEL, CONTENT))
    assert is_cut_off(last)
    assert answer(chat) == "A cup on a…"


def test_what_cannot_be_streamed_is_had_as_a_whole(chat):
    chat.no_stream = True
    assert answer(chat) == "A red bus in a street."
    assert [asked["stream"] for asked in chat.asked] == [True, False]


def test_letters_that_arrive_in_two_halves_stay_whole(chat):
    whole = 'data: {"choices": [{"delta": {"content": "5 µm"}, "finish_reason": "stop"}]}\n\n'
    chat.raw, chat.halves = whole.encode(), whole.encode().index("µ".encode()) + 1
    assert answer(chat) == "5 µm"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"data: {broken\n\n", "does not answer like"),
        (b"data: [1, 2]\n\n", "does not answer like"),
        (b'data: {"choices": 3}\n\n', "does not answer like"),
        (b'data: {"choices": [{"delta": {"content": {"a": 1}}}]}\n\n', "does not answer like"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "does not answer like"),
        (b'data: {"error": {"message": "out of memory"}}\n\n', "out of memory"),
        (event("A bus"), "broke off before it had ended"),
        (b": nothing\n\n", "broke off before it had begun"),
        (b"<html>hello</html>", "does not answer like"),
        (b"not json at all", "does not answer like"),
    ],
)
def test_what_is_no_answer_is_said_in_one_sentence(chat, raw, says):
    chat.raw = raw
    with pytest.raises(ServerError, match=r"^[^\n]+\.$") as refused:
        answer(chat)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("status", "refusal", "says"),
    [
        (401, {"error": {"message": "no key"}}, "wants a key (no key)"),
        (403, {}, "wants a key"),
        (404, {}, f"has no model '{MODEL}'"),
        (404, {"error": "route unknown"}, "is not there (route unknown)"),
        (400, {"detail": "no images"}, "refuses the question, status 400 (no images)"),
        (429, None, "cannot answer now, status 429"),
        (500, {"error": {"message": "x\n" * 5000}}, "cannot answer now, status 500 (x x x"),
        (503, "loading", "cannot answer now, status 503 (loading)"),
    ],
)
def test_refusals_are_said_in_one_short_sentence(chat, status, refusal, says):
    chat.status, chat.refusal = status, refusal
    with pytest.raises(ServerError, match=r"^[^\n]+\.$") as refused:
        answer(chat)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_model_that_is_not_there_is_named(chat):
    with pytest.raises(ServerError, match="has no model 'other'"):
        answer(chat, model="other")


def test_nothing_is_followed_to_another_host(chat):
    with serving() as other:
        chat.moved = f"{other.url}/chat/completions"
        with pytest.raises(ServerError, match=f"hands on to {other.url[7:-3]}, which is not"):
            answer(chat)
        with pytest.raises(ServerError, match="hands on to"):
            list_models(Endpoint(chat.url))
        assert other.paths == []


def test_what_calls_itself_something_else_is_refused(chat):
    chat.kind = "text/html"
    with pytest.raises(ServerError, match="does not answer like"):
        answer(chat)
    with pytest.raises(ServerError, match="does not answer like"):
        list_models(Endpoint(chat.url))


def test_models_that_are_no_list_are_refused(chat):
    chat.status, chat.refusal = 200, {"data": 5}
    with pytest.raises(ServerError, match="does not answer like"):
        list_models(Endpoint(chat.url))


def test_a_huge_answer_is_cut_off(chat):
    chat.endless, chat.pieces = True, ["x" * 10_000]
    with pytest.raises(ServerError, match="sends more than 100,000 bytes"):
        answer(chat, bytes=100_000)
    assert chat.gone.wait(20)


def test_a_slow_answer_is_cut_off(chat):
    chat.endless, chat.pause = True, 0.05
    with pytest.raises(ServerError, match="took more than 0 seconds"):
        answer(chat, whole=0.3)
    assert chat.gone.wait(20)


def test_a_silent_server_is_left(chat):
    chat.held = 1
    with pytest.raises(ServerError, match="was silent for 0 seconds"):
        answer(chat, silence=0.2)
    assert chat.gone.wait(20)


def test_a_server_that_does_not_run_is_said():
    endpoint = Endpoint(f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(ServerError, match=r"Nothing answers at 127\.0\.0\.1:"):
        list_models(endpoint)


def test_closing_closes_the_connection_at_any_moment(chat):
    chat.held = 0
    pieces = stream_chat(Endpoint(chat.url), MODEL, CONTENT)
    assert next(pieces) == ""
    assert chat.begun.wait(20)
    pieces.close()
    assert chat.gone.wait(20)
    assert not [t for t in threading.enumerate() if t.name == "patchioner-server" and t.is_alive()]


def test_listing_models_can_be_cancelled(chat):
    def cancel(*_: object) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        list_models(Endpoint(chat.url), progress=cancel)


def test_texts_come_while_nothing_does_so_that_one_can_stop(chat):
    chat.held = 1
    pieces = stream_chat(Endpoint(chat.url), MODEL, CONTENT)
    with closing(pieces):
        assert next(filter(None, pieces)) == "A red "
        assert [next(pieces) for _ in range(3)] == ["", "", ""]


def test_it_runs_where_a_loop_runs_already(chat):
    import asyncio

    async def inside() -> str:
        return answer(chat)

    assert asyncio.run(inside()) == "A red bus in a street."


def test_the_key_goes_in_a_header_and_nowhere_else(chat, caplog):
    caplog.set_level("DEBUG")
    answer(chat, key="sk-secret")
    assert chat.headers[0]["Authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in json.dumps(chat.asked) + caplog.text
    chat.status, chat.refusal = 401, {"error": {"message": "sk-secret is no key"}}
    with pytest.raises(ServerError) as refused:
        answer(chat, key="sk-secret")
    assert "sk-secret" not in str(refused.value)
    answer_without = len(chat.headers)
    with pytest.raises(ServerError):
        answer(chat)
    assert "Authorization" not in chat.headers[answer_without]


def test_no_proxy_of_the_environment_sees_what_stays_on_this_machine(chat, monkeypatch):
    with serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert answer(chat) == "A red bus in a street."
        assert proxy.paths == []


def test_another_host_is_not_contacted_before_it_is_allowed(monkeypatch):
    monkeypatch.setenv("http_proxy", "")
    with pytest.raises(ModelError, match="is not this machine"):
        list_models(Endpoint("http://192.0.2.1:9/v1"))
    assert not [t for t in threading.enumerate() if t.name == "patchioner-server"]

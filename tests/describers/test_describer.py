"""A server in the place of a captioner."""

from __future__ import annotations

import base64
import math

import numpy as np
import pytest

from napari_patchioner.describers import (
    NOT_SAID,
    Describer,
    Endpoint,
    Server,
    ServerError,
    cleaned_answer,
)
from napari_patchioner.errors import Cancelled, ModelError, RegionError
from napari_patchioner.images import read_picture
from napari_patchioner.regions import Box, WholeImage

IMAGE = np.full((120, 200, 3), 90, np.uint8)
IMAGE[:, 100:] = (20, 30, 200)


@pytest.fixture
def describer(chat):
    return Describer(Server(Endpoint(chat.url), "tiny-vision"))


def test_every_region_is_asked_about(chat, describer):
    grid = describer.encode(IMAGE)
    captions = describer.caption(grid, [Box(10, 10, 50, 50), WholeImage()])
    assert [caption.text for caption in captions] == ["A red bus in a street."] * 2
    assert all(math.isnan(caption.score) for caption in captions)
    assert len(chat.asked) == 2
    assert describer.name == "tiny-vision"
    host = chat.url.removeprefix("http://").removesuffix("/v1")
    assert describer.origin["server"]["host"] == host


def test_the_crop_shows_the_region(chat, describer):
    describer.caption(describer.encode(IMAGE), [Box(10, 140, 100, 190)])
    data = base64.b64decode(chat.pictures[0].partition(",")[2])
    pixels = np.asarray(read_picture(data), int)
    middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
    assert np.abs(middle - (20, 30, 200)).sum() < 30


def test_regions_of_a_large_image_are_cropped_from_the_tile_they_lie_in(chat, describer):
    image = np.zeros((3000, 4000, 3), np.uint8)
    image[2000:2200, 3000:3300] = (20, 30, 200)
    pyramid = describer.pyramid(image)
    [caption] = pyramid.caption([Box(2000, 3000, 2199, 3299)])
    assert caption.text == "A red bus in a street."
    data = base64.b64decode(chat.pictures[0].partition(",")[2])
    pixels = np.asarray(read_picture(data), int)
    blue = np.abs(pixels - (20, 30, 200)).sum(axis=2) < 60
    # The region and its margin of 0.3 of its longer side, black, all around.
    assert blue[pixels.shape[0] // 2, pixels.shape[1] // 2]
    assert 0.2 < blue.mean() < 0.6
    assert not blue[0].any()
    assert not blue[:, 0].any()


def test_options_that_make_sense_are_followed(chat, describer):
    grid, box = describer.encode(IMAGE), Box(10, 10, 50, 60)
    [caption] = describer.caption(
        grid, [box], prompt="{size}?", length="label", max_tokens=7, pixel_size="2 µm"
    )
    assert chat.prompts == ["100 by 80 µm? Answer with nothing but its name."]
    prompt = "{size}? Answer with nothing but its name."
    assert describer.origin["server"]["prompt"] == prompt
    assert chat.asked[0]["max_tokens"] == 7
    assert caption.text == "A red bus in a street"
    [caption] = describer.caption(grid, [box], must=["tram"])
    assert caption.problem == "The answer of the server lacks 'tram'."
    [caption] = describer.caption(grid, [box], never=["bus"])
    assert caption.problem == "The answer of the server holds 'bus'."


def test_a_prompt_that_makes_no_sense_is_refused_before_anything_is_sent(chat, describer):
    with pytest.raises(ModelError, match="no field"):
        describer.caption(describer.encode(IMAGE), [WholeImage()], prompt="{size.real}")
    with pytest.raises(RegionError):
        describer.caption(describer.encode(IMAGE), [WholeImage(), Box(500, 500, 510, 510)])
    assert chat.asked == []


def test_a_caption_that_is_cut_off_says_so(chat, describer):
    chat.ending, chat.pieces = "length", ["A dark red cup ", "stands on a"]
    for length in (None, "sentence"):
        [caption] = describer.caption(describer.encode(IMAGE), [WholeImage()], length=length)
        assert caption.text == "A dark red cup stands on a…"
        assert "cut off after 400 tokens" in caption.problem


def test_a_runaway_answer_is_stopped(chat, describer):
    chat.endless, chat.pieces = True, ["x" * 700]
    with pytest.raises(ServerError, match="stopped after 20,000 letters"):
        describer.caption(describer.encode(IMAGE), [WholeImage()])
    assert chat.gone.wait(20)


def test_an_empty_answer_is_no_caption(chat, describer):
    chat.pieces = ["<think>What is it?</think>\n"]
    [caption] = describer.caption(describer.encode(IMAGE), [WholeImage()])
    assert (caption.text, caption.problem) == ("", NOT_SAID)


def test_it_can_be_cancelled_while_it_waits(chat, describer):
    chat.held = 0
    calls = []

    def progress(fraction: float, message: str) -> None:
        calls.append(message)
        if chat.begun.is_set():
            raise Cancelled

    with pytest.raises(Cancelled):
        describer.caption(describer.encode(IMAGE), [WholeImage()], progress=progress)
    assert chat.gone.wait(20)
    assert calls[0] == "asking tiny-vision: 1 of 1"


def test_the_only_model_of_a_server_is_taken(chat):
    describer = Describer(Server(Endpoint(chat.url)))
    describer.caption(describer.encode(IMAGE), [WholeImage()])
    assert describer.name == "tiny-vision"
    chat.models = ["one", "two"]
    with pytest.raises(ServerError, match="has one, two; name the one to ask"):
        Server(Endpoint(chat.url)).named()
    chat.models = []
    with pytest.raises(ServerError, match="has no model; load one there"):
        Server(Endpoint(chat.url)).named()


def test_it_has_nothing_to_compare_regions_by(describer):
    grid = describer.encode(IMAGE)
    with pytest.raises(ModelError, match="choose another model"):
        describer.embed(grid, [WholeImage()])


def test_a_question_is_asked_as_it_is(chat):
    server = Server(Endpoint(chat.url), "tiny-vision", prompt="{caption}")
    assert "{mitotic} stage?" in server.asked(question="What {mitotic} stage?")
    assert server.asked({"caption": "a cell"}) == "a cell"
    assert server.origin("What?")["server"]["question"] == "What?"
    assert "key" not in str(server.origin())


def test_answers_are_one_line():
    assert cleaned_answer("a\x00 b\n\n c") == "a b c"
    assert cleaned_answer("<think>never closed") == ""

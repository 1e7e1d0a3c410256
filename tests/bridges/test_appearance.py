from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.data import cell, immunohistochemistry
from skimage.draw import disk, line

from napari_patchioner.backbones.appearance import appearance_axes
from napari_patchioner.bridges.appearance import AXES, VOCABULARY, attributes, describe, suiting
from napari_patchioner.decoders.grounded.vocabulary import STRONG

GRID = (30, 40)
PATCHES = GRID[0] * GRID[1]


def pooled(image: np.ndarray) -> np.ndarray:
    return appearance_axes(image, GRID).reshape(PATCHES, -1).mean(0, keepdims=True)


def words(image: np.ndarray) -> str:
    return describe(pooled(image), patches=PATCHES, scale=16)[0]


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((480, 640, 3), colour, np.uint8)


def spots(number: int, radius: int, ink: tuple, ground: tuple) -> np.ndarray:
    random, image = np.random.default_rng(3), plain(ground).astype(float)
    for index in random.permutation(12 * 9)[:number]:
        centre = (26 + 52 * (index // 12), 26 + 52 * (index % 12))
        image[disk(centre, radius, shape=image.shape[:2])] = ink
    return ndimage.gaussian_filter(image, (1, 1, 0)).astype(np.uint8)


@pytest.mark.parametrize(
    ("number", "how_many"), [(1, "one"), (3, "three"), (9, "nine"), (80, "about 80")]
)
def test_dark_purple_spots_on_pale_pink(number: int, how_many: str) -> None:
    plural = "" if number == 1 else "s"
    text = words(spots(number, 8, (80, 40, 120), (245, 222, 230)))
    assert text.startswith(f"{how_many} small dark purple round spot{plural} ")
    assert text.endswith(" on a pale pink background")


def test_sizes_are_said_in_a_unit_where_there_is_one() -> None:
    axes = pooled(spots(80, 8, (80, 40, 120), (245, 222, 230)))
    [text] = describe(axes, patches=PATCHES, scale=16, unit=(0.5, "µm"))
    assert re.match("about 80 dark purple round spots [78]([.][0-9])? µm across ", text)
    # In another unit where numbers would be long.
    for unit in ((500.0, "nm"), (5e-7, "m")):
        assert describe(axes, patches=PATCHES, scale=16, unit=unit) == [text]


def test_spots_far_below_a_hundredth_of_the_area_are_counted() -> None:
    text = words(spots(60, 3, (40, 230, 60), (0, 0, 0)))
    assert text.startswith("about 60 tiny green round spots ")
    assert text.endswith(" on a black background")


def groups(ground: tuple, radius: int, *inks: tuple[int, tuple]) -> np.ndarray:
    """Discs of several colours, so many of each, at mixed places."""
    random, image = np.random.default_rng(5), plain(ground).astype(float)
    places = iter(random.permutation(12 * 9))
    for number, ink in inks:
        for _, index in zip(range(number), places, strict=False):
            centre = (26 + 52 * (index // 12), 26 + 52 * (index % 12))
            image[disk(centre, radius, shape=image.shape[:2])] = ink
    return ndimage.gaussian_filter(image, (1, 1, 0)).astype(np.uint8)


@pytest.mark.parametrize(
    ("ground", "inks", "text"),
    [
        (
            (128, 128, 128),
            ((25, (10, 10, 10)), (25, (250, 250, 250))),
            "about 25 black and 25 white",
        ),
        ((0, 0, 0), ((5, (40, 170, 60)), (15, (215, 30, 35))), "about 15 red and five green"),
        (
            (128, 128, 128),
            ((20, (75, 75, 75)), (12, (200, 200, 200))),
            "about 20 darker and 12 bright",
        ),
        (
            (255, 255, 255),
            ((14, (215, 30, 35)), (10, (40, 70, 210)), (7, (250, 140, 10))),
            "about 14 red, ten blue and seven orange",
        ),
    ],
)
def test_marks_of_several_colours_are_counted_by_colour(
    ground: tuple, inks: tuple, text: str
) -> None:
    assert words(groups(ground, 9, *inks)).startswith(text)


def test_colours_that_change_without_a_gap_are_no_groups() -> None:
    hues = [(int(230 - 2.6 * step), int(20 + 4.8 * step), 30) for step in range(40)]
    text = words(groups((255, 255, 255), 9, *((1, hue) for hue in hues)))
    assert text.startswith("about 40 small darker round spots")


def test_a_few_colours_more_are_not_listed() -> None:
    hues = [(220, 30, 30), (30, 160, 50), (40, 70, 210), (240, 220, 30), (235, 20, 225)]
    text = words(groups((0, 0, 0), 9, *((8, hue) for hue in hues)))
    assert text.startswith("about 40 small many-coloured round spots")


def test_stripes() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, (np.arange(640) // 6) % 2 == 0] = 255
    assert words(image) in ("black and white stripes", "white and black stripes")
    assert attributes(pooled(image))[0]["striped"] > 0.8


def test_checks_are_no_round_spots() -> None:
    rows, columns = np.indices((480, 640)) // 32
    image = np.where(((rows + columns) % 2)[..., None], (20, 215, 225), (255, 255, 255))
    text = words(image.astype(np.uint8))
    assert text.startswith("a checkered pattern of ")
    assert {"cyan", "white"} <= set(text.split())


def test_shapes_with_straight_sides_are_not_round() -> None:
    filled, empty, long = (plain((255, 255, 255)) for _ in range(3))
    for row in (120, 360):
        for column in (160, 480):
            filled[row - 35 : row + 35, column - 35 : column + 35] = 0
            empty[row - 35 : row + 35, column - 35 : column + 35] = 0
            empty[row - 30 : row + 30, column - 30 : column + 30] = 255
            long[row - 30 : row + 30, column - 60 : column + 60] = 0
    assert words(filled) == "four large black squares on a white background"
    assert words(empty) == "four large black square outlines on a white background"
    assert words(long) == "four large black rectangles on a white background"


@pytest.mark.parametrize(
    ("size", "step", "turn"),
    [((400, 640), 1, 0.0), ((64, 96), 4, 0.6), ((900, 300), 1, -np.pi / 2)],
)
def test_gradients_are_gradients(size: tuple[int, int], step: int, turn: float) -> None:
    rows, columns = np.indices(size)
    way = rows * np.sin(turn) + columns * np.cos(turn)
    for most in ((255, 255, 255), (128, 128, 128), (0, 0, 255)):
        level = (way - way.min())[..., None] / np.ptp(way) * most
        text = words((level // step * step).astype(np.uint8))
        assert text.startswith("a smooth gradient from ")
        first, second = text.removeprefix("a smooth gradient from ").split(" to ")
        assert first != second
    weak = 110 + 30 * (way - way.min())[..., None].repeat(3, 2) / np.ptp(way)
    assert words(weak.astype(np.uint8)) in ("a smooth gradient of gray", "a smooth area of gray")


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ((40, 70, 210), (255, 255, 255), "from blue to (white|pale blue)"),
        ((215, 30, 35), (245, 225, 30), "from red to yellow"),
        ((0, 128, 128), (0, 0, 0), "from (black|dark gray) to (dark )?(cyan|green|blue)"),
    ],
)
def test_gradients_go_from_colour_to_colour(first: tuple, second: tuple, text: str) -> None:
    share = np.linspace(0, 1, 640)[:, None]
    row = np.array(first) * (1 - share) + np.array(second) * share
    image = np.broadcast_to(row.round().astype(np.uint8), (480, 640, 3))
    assert re.fullmatch(f"a smooth gradient {text}", words(np.ascontiguousarray(image)))


@pytest.mark.parametrize("turned", [False, True])
def test_two_plain_areas_are_no_gradient(turned: bool) -> None:
    halves = np.full((400, 500, 3), 255, np.uint8)
    halves[:, 250:] = (20, 60, 220)
    text = words(np.rot90(halves).copy() if turned else halves)
    assert "gradient" not in text
    assert text.split()[-3:] in (["blue", "and", "white"], ["white", "and", "blue"])


def test_lines_that_cross_are_no_rods() -> None:
    image = plain((255, 255, 255))
    for place in (100, 240, 380):
        image[20:460, place + 80 : place + 84] = 0
        image[place : place + 4, 20:620] = 0
    assert words(image) == "a grid of thin black lines on a white background"


def test_a_grid_as_light_as_its_ground_is_a_grid() -> None:
    image = plain((128, 128, 128))
    image[30::60, :] = image[31::60, :] = image[32::60, :] = (215, 30, 35)
    image[:, 30::60] = image[:, 31::60] = image[:, 32::60] = (215, 30, 35)
    assert words(image) == "a grid of thin red lines on a gray background"


def test_stripes_as_light_as_each_other_are_stripes() -> None:
    rows, columns = np.indices((480, 640))
    image = np.where(((rows + 2 * columns) // 60 % 2)[..., None], (215, 30, 35), (128, 128, 128))
    assert words(image.astype(np.uint8)) in ("red and gray stripes", "gray and red stripes")


def test_slanting_lines_with_noise_are_lines_from_end_to_end() -> None:
    rows, columns = np.indices((480, 640))
    away = np.abs((rows - 0.55 * columns) / np.hypot(1, 0.55) % 60 - 30)
    share = np.clip(3.3 - away, 0, 1)[..., None]
    image = np.array((135, 206, 235)) * (1 - share) + np.array((250, 150, 190)) * share
    image += np.random.default_rng(6).normal(0, 5, image.shape)
    text = words(image.clip(0, 255).round().astype(np.uint8))
    assert re.fullmatch(r"(\w+ )?thin pink parallel lines on a light blue background", text)


def test_one_thin_line_is_said_where_it_is_clear() -> None:
    image = plain((255, 255, 255))
    image[200:203, 250:420] = (0, 128, 128)
    assert words(image).startswith("one thin ")
    assert words(image).endswith(" line on a white background")


def test_open_and_touching_rings_are_no_lines() -> None:
    rows, columns = np.indices((480, 640))
    image = plain((235, 235, 240)).astype(float)
    for index in range(35):
        down, right = rows - 45 - 95 * (index // 7), columns - 45 - 92 * (index % 7)
        # A few are open at one side, as cells that are pale in the middle may be.
        opened = (np.abs(down) < 12) & (right > 0) & (index % 5 == 0)
        image[(np.abs(np.hypot(down, right) - 28) < 6) & ~opened] = (190, 110, 130)

    text = words(ndimage.gaussian_filter(image, (1, 1, 0)).astype(np.uint8))
    assert "line" not in text
    assert text.startswith("about 35")


def test_a_halo_with_a_nick_is_a_ring() -> None:
    rows, columns = np.indices((480, 640))
    away = np.hypot(rows - 260, columns - 300)
    image = plain((95, 95, 95))
    image[(away > 60) & (away < 92)] = 25
    image[away < 50] = 220
    image[258:262, 374:378] = 95
    text = words(image)
    assert "line" not in text
    assert {"black", "gray"} <= set(text.split())


def test_a_tree_with_one_loop_is_no_ring() -> None:
    image = plain((255, 255, 255))
    for start, end in (
        *(((470, 320), (330, 320)), ((330, 320), (240, 220)), ((330, 320), (240, 420))),
        *(((240, 220), (150, 320)), ((240, 420), (150, 320)), ((150, 320), (40, 320))),
        *(((240, 220), (140, 100)), ((240, 420), (140, 560)), ((140, 100), (30, 60))),
    ):
        rows, columns = line(*start, *end)
        for shift in (-1, 0, 1):
            image[rows, columns + shift] = (140, 20, 30)
    assert words(image) == "thin dark red branching lines on a white background"


def test_grain() -> None:
    noise = np.random.default_rng(0).normal(128, 40, (480, 640, 1)).clip(0, 255)
    image = np.repeat(noise, 3, 2).astype(np.uint8)
    assert "grainy texture of gray" in words(image)
    assert attributes(pooled(image))[0]["grainy"] > 0.8


def test_meshwork() -> None:
    random = np.random.default_rng(1)
    seeds = np.ones((480, 640), bool)
    seeds[random.integers(0, 480, 300), random.integers(0, 640, 300)] = False
    where = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    label = where[0] * 640 + where[1]
    net = ndimage.gaussian_filter(255.0 * (ndimage.maximum_filter(label, 5) != label), 1)
    text = words(np.repeat(net[..., None], 3, 2).clip(0, 255).astype(np.uint8))
    assert text == "a mesh of thin light gray lines on a black background"


def test_scattered_lines_are_not_stripes() -> None:
    random, image = np.random.default_rng(2), np.zeros((480, 640), float)
    for _ in range(40):
        ends = random.integers(0, 480, 4)
        image[line(*ends)] = 255
    image = ndimage.gaussian_filter(ndimage.grey_dilation(image, 3), 0.7)
    text = words(np.repeat(image[..., None], 3, 2).astype(np.uint8))
    assert text.endswith(" on a black background")
    assert "lines" in text
    assert "parallel" not in text


@pytest.mark.parametrize(
    ("colour", "text"),
    [
        ((255, 255, 255), "an even white area"),
        ((0, 0, 0), "an even black area"),
        ((35, 35, 35), "an even dark gray area"),
        ((128, 128, 128), "an even gray area"),
        ((200, 30, 30), "an even red area"),
        ((255, 150, 0), "an even orange area"),
        ((0, 0, 100), "an even dark blue area"),
        ((0, 0, 255), "an even blue area"),
        ((0, 255, 0), "an even green area"),
        ((0, 255, 255), "an even cyan area"),
        ((144, 238, 144), "an even light green area"),
        ((135, 206, 235), "an even light blue area"),
        ((120, 75, 35), "an even brown area"),
        ((255, 192, 203), "an even pale pink area"),
    ],
)
def test_an_even_field_is_named_by_its_colour(colour: tuple[int, int, int], text: str) -> None:
    assert words(plain(colour)) == text


def test_shipped_micrographs() -> None:
    assert "brown" in words(immunohistochemistry())
    assert "gray" in words(np.repeat(cell()[..., None], 3, 2))


def test_noise_has_no_marks() -> None:
    random = np.random.default_rng(4)
    clouds = ndimage.gaussian_filter(random.normal(0, 1, (480, 640)), 8)
    image = (128 + 22 * clouds / clouds.std()).clip(0, 255).astype(np.uint8)
    assert words(np.repeat(image[..., None], 3, 2)) == "a mottled texture of gray"


AXIS_VALUES = hnp.arrays(
    np.float32, (3, len(AXES)), elements=st.floats(-100, 100, width=32, allow_nan=False)
)


@settings(max_examples=200, deadline=None)
@given(AXIS_VALUES, st.floats(0.1, 5000))
def test_only_words_of_the_closed_vocabulary(axes: np.ndarray, patches: float) -> None:
    for text in describe(axes, patches=patches, scale=16):
        assert set(re.findall(r"[a-z]+", text)) <= VOCABULARY


@settings(max_examples=100, deadline=None)
@given(AXIS_VALUES)
def test_strengths_lie_between_zero_and_one(axes: np.ndarray) -> None:
    for strengths in attributes(axes):
        assert all(0 < strength <= 1 for strength in strengths.values())


def test_no_object_hides_in_the_vocabulary() -> None:
    objects = "person cell cells nucleus nuclei vessel tissue dog sky wall grass fibre worm spider"
    assert not VOCABULARY & set(objects.split())


@pytest.mark.parametrize(
    ("colour", "word"), [((200, 30, 30), "red"), ((30, 60, 200), "blue"), ((40, 150, 50), "green")]
)
def test_unmistakable_colours(colour: tuple[int, int, int], word: str) -> None:
    strengths = attributes(pooled(plain(colour)))[0]
    assert strengths[word] > 0.9
    assert strengths["smooth"] > 0.9


def test_white_in_warm_light_is_not_called_yellow() -> None:
    random = np.random.default_rng(5)
    light = np.array((255, 214, 150)) / 255
    scene = random.uniform(0.1, 0.6, (12, 16, 3)).repeat(40, 0).repeat(40, 1) * 255
    scene[120:360, 160:480] = 235
    lit = appearance_axes((scene * light).astype(np.uint8), GRID)
    words_of_it = attributes(lit[8:22, 11:29].reshape(-1, len(AXES)).mean(0, keepdims=True))[0]
    assert not {"yellow", "orange", "brown"} & words_of_it.keys()


def test_gray_pictures_have_no_colours() -> None:
    assert not {"gray", "black"} & attributes(pooled(plain((90, 90, 90))))[0].keys()


def test_what_is_shown_on_a_screen_is_not_its_colour() -> None:
    words_of_it = {"green": 0.9, "smooth": 0.8}
    assert suiting(words_of_it, "laptop") == {"smooth": 0.8}
    assert suiting(words_of_it, "car") == words_of_it
    assert suiting({"purple": 0.9, "black": 0.8}, "dog") == {"black": 0.8}


def test_white_things_in_the_shade_are_not_called_gray() -> None:
    assert suiting({"gray": 0.9, "smooth": 0.8}, "truck") == {"smooth": 0.8}
    assert suiting({"gray": 0.9}, "elephant") == {"gray": 0.9}


def test_in_the_dark_nothing_is_black() -> None:
    image = plain((200, 30, 30))
    image[120:360, 160:480] = 12
    axes = appearance_axes(image, GRID)[8:22, 11:29].reshape(-1, len(AXES)).mean(0, keepdims=True)
    assert attributes(axes, [40.0])[0]["black"] > 0.9
    assert "black" not in attributes(axes, [20.0])[0]


@pytest.mark.parametrize(
    ("colour", "wrong"),
    [
        ((40, 28, 20), "black"),
        ((38, 16, 16), "black"),
        ((22, 34, 18), "black"),
        ((101, 84, 20), "yellow"),
        ((98, 62, 68), "red"),
    ],
)
def test_dark_and_dull_colours_are_not_called_plain_ones(
    colour: tuple[int, int, int], wrong: str
) -> None:
    assert attributes(pooled(plain(colour)))[0].get(wrong, 0.0) < STRONG


@pytest.mark.parametrize(("colour", "word"), [((225, 200, 40), "yellow"), ((120, 20, 25), "red")])
def test_plain_colours_are_still_called_so(colour: tuple[int, int, int], word: str) -> None:
    assert attributes(pooled(plain(colour)))[0][word] > STRONG


def test_what_is_green_in_a_dim_light_has_no_other_colour() -> None:
    assert suiting({"black": 0.9, "smooth": 0.8}, "potted plant") == {"smooth": 0.8}
    assert suiting({"green": 0.9}, "broccoli") == {"green": 0.9}
    assert suiting({"brown": 0.9}, "carrot") == {}


def test_two_equal_colours_give_no_colour_word() -> None:
    image = plain((200, 30, 30))
    image[:, 320:] = (30, 60, 200)
    assert not {"red", "blue"} & attributes(pooled(image))[0].keys()


def test_pooled_parts_of_regions_are_described_one_by_one() -> None:
    axes = np.concatenate([pooled(plain((255, 255, 255))), pooled(plain((0, 0, 0)))])
    assert describe(axes, patches=[4, 9], scale=16) == ["an even white area", "an even black area"]
    assert describe(axes[:0], patches=np.zeros(0)) == []

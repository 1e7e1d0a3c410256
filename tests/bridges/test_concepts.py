from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.backbones.appearance import appearance_axes
from napari_patchioner.bridges import NormalizeBridge, ThroughText
from napari_patchioner.bridges.appearance import AXES
from napari_patchioner.bridges.base import Query
from napari_patchioner.bridges.concepts import (
    CANDIDATES,
    ConceptBridge,
    ConceptHead,
    ImageNetClassifier,
    load_head,
    load_imagenet,
)
from napari_patchioner.decoders import CaptionOptions
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, pool
from napari_patchioner.progress import no_progress
from napari_patchioner.regions import Box, GridTransform, cover

NAMES = ("cat", "dog", "cup", "mug", "violin")
CHANNELS = 3


@dataclass
class Scene:
    shape: tuple[int, int] = (10, 10)
    measures: dict[str, float] = field(default_factory=lambda: {"photograph": 1.0})
    side: int = 640

    @property
    def transform(self):
        return GridTransform((self.side, self.side), self.shape)


def make_head(**changes):
    """Fitted: cat, dog, cup, mug, each on a channel of its own; violin only through ImageNet."""
    weights = np.zeros((CHANNELS + 4, 4), np.float32)
    weights[CHANNELS:] = 8 * np.eye(4)
    parts = {
        "weights": weights,
        "bias": np.zeros(4, np.float32),
        "hidden": np.zeros((CHANNELS + 4, 0), np.float32),
        "hidden_bias": np.zeros(0, np.float32),
        "hidden_weights": np.zeros((0, 4), np.float32),
        "labels": np.arange(4),
        "prior": np.zeros(4, np.float32),
        "mixing": np.array([1.0, -1.0, 1.0], np.float32),
        "score_offsets": np.zeros(len(NAMES), np.float32),
        "score_steps": np.array([-2, 2], np.float32),
        "score_values": np.array([0, 1], np.float32),
        "sure_from": np.array([0.5], np.float32),
    }
    return ConceptHead(**(parts | changes))


def make_imagenet():
    weights = np.zeros((CHANNELS, 2), np.float32)
    weights[0, 1] = 9
    return ImageNetClassifier(weights, np.zeros(2, np.float32), np.array([0, 4]))


def make_bridge(**changes):
    embeddings = np.eye(len(NAMES), 6, dtype=np.float16)
    groups = [("cup", "mug"), ("cat", "no such name")]
    return ConceptBridge(
        make_head(**changes), make_imagenet(), NAMES, embeddings, ("red", "plural"), groups
    )


def make_vectors(*rows):
    """Middle channels and the channel that ImageNet reads as a violin."""
    vectors = np.zeros((len(rows), CHANNELS + 4 + len(AXES)), np.float32)
    for vector, row in zip(vectors, rows, strict=True):
        for channel, value in row.items():
            vector[channel] = value
    return vectors


def test_the_strongest_concept_comes_first():
    output = make_bridge().project(make_vectors({CHANNELS: 1}, {CHANNELS + 1: 1}), Scene())
    assert [seen.concepts[0][0] for seen in output.evidence] == ["cat", "dog"]
    assert all(seen.verdict == "sure" for seen in output.evidence)


@pytest.mark.parametrize(("around", "black"), [((200, 30, 30), True), ((30, 25, 20), False)])
def test_black_is_said_where_it_is_light_enough_around(around, black):
    image = np.full((480, 640, 3), around, np.uint8)
    image[180:300, 240:400] = 12
    axes = appearance_axes(image, (30, 40))
    seen = np.zeros((30, 40, CHANNELS + 4), np.float32)
    transform = GridTransform((480, 640), (30, 40))
    grid = FeatureGrid(np.concatenate([seen, axes], 2), transform, "", measures={"photograph": 1.0})
    covers = [cover(Box(180, 240, 299, 399), transform)]
    output = make_bridge().project(pool(grid, covers), grid, covers=covers)
    assert ("black" in output.evidence[0].attributes) is black


def test_a_hidden_unit_speaks_only_where_it_is_positive():
    hidden = np.zeros((CHANNELS + 4, 1), np.float32)
    hidden[CHANNELS : CHANNELS + 2] = 1
    both_are_a_cup = {
        "hidden": hidden,
        "hidden_bias": np.array([-1], np.float32),
        "hidden_weights": np.array([[0, 0, 30, 0]], np.float32),
    }
    vectors = make_vectors({CHANNELS: 1}, {CHANNELS: 1, CHANNELS + 1: 1})
    output = make_bridge(**both_are_a_cup).project(vectors, Scene())
    assert [seen.concepts[0][0] for seen in output.evidence] == ["cat", "cup"]


def test_what_is_unlikely_beside_the_first_is_not_listed():
    bridge = make_bridge(mixing=np.array([1, -9, 1], np.float32))
    [seen] = bridge.project(make_vectors({CHANNELS: 1}), Scene()).evidence
    assert seen.concepts[0][0] == "cat"
    assert len(seen.concepts) == 3


def test_imagenet_has_its_say_on_fitted_names():
    vectors = make_vectors({0: 2})[:, : CHANNELS + 4]
    trusted = {"labels": np.array([0, 1, 2, 4]), "prior": np.full(4, 3, np.float32)}
    violin = make_bridge().probabilities(vectors)[0, 4]
    assert make_bridge(**trusted).probabilities(vectors)[0, 4] > max(violin, 0.5)


def test_what_nothing_speaks_for_is_unsure():
    [seen] = make_bridge().project(make_vectors({}), Scene()).evidence
    assert seen.verdict == "unsure"
    assert seen.score < 0.5


def test_names_of_one_group_are_not_offered_side_by_side():
    [seen] = (
        make_bridge().project(make_vectors({CHANNELS + 2: 1, CHANNELS + 3: 1.1}), Scene()).evidence
    )
    names = [name for name, weight in seen.concepts if weight > 0]
    assert names[0] == "mug"
    assert "cup" not in names


def test_open_names_come_from_imagenet():
    [seen] = (
        make_bridge(mixing=np.array([1, 3, 1], np.float32))
        .project(make_vectors({0: 2}), Scene())
        .evidence
    )
    assert seen.concepts[0][0] == "violin"


def test_no_name_is_given_where_the_image_is_no_photograph():
    output = make_bridge().project(make_vectors({CHANNELS: 1}), Scene(measures={"photograph": 0.1}))
    [seen] = output.evidence
    assert seen.verdict == "appearance"
    assert seen.concepts == ()
    assert seen.text
    assert "cat" not in seen.text


def test_the_vector_is_a_unit_mixture_and_then_attributes():
    output = make_bridge().project(make_vectors({CHANNELS: 1}, {}), Scene())
    assert output.vectors.shape == (2, 6 + 2)
    assert output.vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(output.vectors[:, :6], axis=1), 1, atol=1e-5)
    assert output.vectors[0, :6].argmax() == 0


def test_no_regions_give_nothing():
    output = make_bridge().project(make_vectors(), Scene())
    assert output.vectors.shape == (0, 8)
    assert output.evidence == ()


@given(st.lists(st.floats(0, 3), min_size=7, max_size=7))
def test_probabilities_are_a_distribution(values):
    features = np.array([values], np.float32)
    bridge = make_bridge()
    for probabilities in (bridge.probabilities(features), bridge.named(features)):
        assert np.isclose(probabilities.sum(), 1, atol=1e-4)
        assert (probabilities >= 0).all()


def test_evidence_lists_at_most_so_many():
    [seen] = make_bridge().project(make_vectors({}), Scene()).evidence
    assert len(seen.concepts) <= CANDIDATES


def test_a_second_look_counts_half_and_only_where_there_was_one():
    bridge = make_bridge()
    cat, dog = make_vectors(
        {CHANNELS: 0.5, CHANNELS + 1: 0.45}, {CHANNELS: 0.45, CHANNELS + 1: 0.55}
    )
    plain = bridge.project(np.stack([cat, cat, dog]), Scene()).evidence
    seen = bridge.project(
        np.stack([cat, cat, dog]), Scene(), close_ups={1: dog[: -len(AXES)]}
    ).evidence
    assert [seen[0], seen[2]] == [plain[0], plain[2]]
    cat, dog = (dict(one.concepts) for one in (plain[1], plain[2]))
    both = dict(seen[1].concepts)
    assert both["dog"] / both["cat"] == pytest.approx(
        (dog["dog"] * cat["dog"] / dog["cat"] / cat["cat"]) ** 0.5, rel=0.05
    )


def test_two_outputs_of_one_concept_add_up():
    labels = np.array([0, 0, 2, 3])
    features = np.zeros((1, CHANNELS + 4), np.float32)
    apart = make_bridge().probabilities(features)[0]
    together = make_bridge(labels=labels).probabilities(features)[0]
    assert together[0] > 1.5 * apart[0]


def test_the_score_is_calibrated():
    values = np.array([0.2, 0.6], np.float32)
    bridge = make_bridge(score_values=values, mixing=np.array([1, -9, 1], np.float32))
    [seen] = bridge.project(make_vectors({CHANNELS: 9}), Scene()).evidence
    assert seen.score == pytest.approx(0.6, abs=0.02)
    assert seen.verdict == "sure"


@pytest.mark.parametrize("side", [64, 128, 255])
def test_a_picture_of_few_pixels_is_less_sure(side):
    vectors = make_vectors({CHANNELS: 0.15})
    scores = [
        make_bridge().project(vectors, Scene(side=pixels)).evidence[0].score
        for pixels in (side, 2 * side, 256, 640)
    ]
    assert scores[0] < scores[1] <= scores[2]
    assert scores[2] == scores[3] > 0


def test_some_concepts_are_right_less_often_than_their_probability_says():
    offsets = np.zeros(len(NAMES), np.float32)
    offsets[NAMES.index("dog")] = -9
    limit = np.array([0.9], np.float32)
    bridge = make_bridge(score_offsets=offsets, sure_from=limit)
    seen = bridge.project(make_vectors({CHANNELS: 9}, {CHANNELS + 1: 9}), Scene()).evidence
    assert [item.verdict for item in seen] == ["sure", "unsure"]


@pytest.mark.parametrize("load", [load_head, load_imagenet])
def test_damaged_files_are_said_to_be(tmp_path, load):
    path = tmp_path / "head.safetensors"
    for content in (None, b"nonsense"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ModelError, match="missing or damaged"):
            load(path)


def test_words_mean_concepts_by_their_names_or_by_the_tower():
    meanings = {"feline": 0, "cat food": 0, "cat sitter": 1}

    def embed_text(texts):
        rows = [np.eye(6)[meanings[text]] if text in meanings else np.ones(6) for text in texts]
        return np.array(rows, np.float32)

    embeddings = np.eye(len(NAMES), 6, dtype=np.float16)
    parts = (make_head(), make_imagenet(), NAMES, embeddings, ("red",), [("cup", "mug")])
    vectors = make_vectors({CHANNELS: 1}, {CHANNELS + 2: 1})
    words = ["a Cat", "cats", "cup", "mug", "feline", "cat food", "stone"]
    said = ConceptBridge(*parts, embed_text).word_probabilities(vectors, words)
    probabilities = make_bridge().probabilities(vectors[:, : -len(AXES)])
    cat, cup = probabilities[:, 0], probabilities[:, 2:4].sum(axis=1)
    np.testing.assert_allclose(said[:, :5].T, [cat, cat, cup, cup, cat])
    assert np.isnan(said[:, 5:]).all()
    without = make_bridge().word_probabilities(vectors, ["cat", "feline"])
    assert np.isnan(without).tolist() == [[False, True]] * 2
    through = ThroughText(make_bridge(), NormalizeBridge())
    np.testing.assert_array_equal(through.word_probabilities(vectors, ["cat"])[:, 0], cat)


@pytest.mark.parametrize("photograph", [1.0, 0.0])
@pytest.mark.parametrize("tower", [True, False])
def test_regions_go_among_sentences(photograph, tower):
    asked = []

    def embed_text(texts):
        asked.append(list(texts))
        return np.full((len(texts), 6), 6**-0.5, np.float32)

    bridge = make_bridge()
    if tower:
        groups = [("cup", "mug")]
        embeddings = np.eye(len(NAMES), 6, dtype=np.float16)
        bridge = ConceptBridge(
            make_head(), make_imagenet(), NAMES, embeddings, ("red",), groups, embed_text
        )
    scene = Scene(measures={"photograph": photograph})
    query = Query(make_vectors({CHANNELS: 1}, {}), scene, CaptionOptions(), None, no_progress)
    made, output = bridge.text_vectors(query), bridge.answer(query)
    assert made.shape == (2, 6)
    if photograph or not tower:
        assert (made == output.vectors[:, :6]).all()
        assert not asked
    else:
        assert asked == [[seen.text for seen in output.evidence]]
        assert made == pytest.approx(6**-0.5)


def test_a_phrase_may_mean_several_concepts():
    meanings = {"feline": np.eye(6)[0], "vessel": np.eye(6)[2] + 0.95 * np.eye(6)[3]}

    def embed_text(texts):
        rows = [meanings.get(text, np.eye(6)[5]) for text in texts]
        return np.array(rows, np.float32)

    embeddings = np.eye(len(NAMES), 6, dtype=np.float16)
    parts = (make_head(), make_imagenet(), NAMES, embeddings, ("red",), [("cup", "mug")])
    bridge = ConceptBridge(*parts, embed_text, meanings={"pet": [NAMES[0], NAMES[1]]})
    vectors = make_vectors({CHANNELS: 1}, {CHANNELS + 2: 1})
    said = bridge.phrase_probabilities(
        vectors, ["a Cat", "cup", "pet", "feline", "vessel", "stone"]
    )
    probabilities = bridge.probabilities(vectors[:, : -len(AXES)])
    cat, cup = probabilities[:, 0], probabilities[:, 2:4].sum(axis=1)
    wanted = [cat, cup, probabilities[:, :2].sum(axis=1), cat, cup]
    np.testing.assert_allclose(said[:, :5].T, wanted, rtol=1e-4)
    assert set(bridge.phrase_meaning("vessel")) == {"cup", "mug"}
    assert (bridge.phrase_meaning("stone") == ()) == np.isnan(said[:, 5]).all()
    through = ThroughText(bridge, NormalizeBridge())
    np.testing.assert_array_equal(through.phrase_probabilities(vectors, ["cup"])[:, 0], said[:, 1])
    assert through.phrase_meaning("pet") == bridge.phrase_meaning("pet")


def test_adjectives_of_regions_are_the_shares_of_colours():
    vectors = make_vectors({}, {})
    vectors[0, vectors.shape[1] - len(AXES) + AXES.index("share_red")] = 0.8
    vectors[1, vectors.shape[1] - len(AXES) + AXES.index("share_blue")] = 0.8
    strengths = make_bridge().adjective_strengths(vectors, ["red", "blue"])
    np.testing.assert_array_equal(strengths, np.eye(2))

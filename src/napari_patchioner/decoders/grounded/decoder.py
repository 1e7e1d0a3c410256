"""Captions in which every name and adjective has evidence."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_patchioner.decoders import search
from napari_patchioner.decoders.caption import Caption, Evidence, Thing, Verdict
from napari_patchioner.decoders.gpt import PrefixGPT
from napari_patchioner.decoders.options import CaptionOptions, listed
from napari_patchioner.devices import one_core
from napari_patchioner.errors import ModelError

from . import texts, vocabulary
from .grammar import GroundedGrammar
from .relations import Grounds, Relations, Selection
from .scenes import SURE, Description, Scenes
from .vocabulary import ADJECTIVES, QUANTITIES

Floats: TypeAlias = npt.NDArray[np.float32]

# What the decoder does unless it is asked for something else.
DEFAULTS = CaptionOptions(beams=4, alternatives=0, max_tokens=30)
# What similarity to the region counts against one unit of mean log-probability; each measured
# adjective or number, and each place people agree on; each thing that has grounds and is named.
CLOSENESS, DETAIL, COMPANY = 5.0, 0.3, 1.0
# Log-odds added to measured adjectives and numbers, so that beams do not lose them.
MEASURED_BIAS = 2.0
# A candidate below this share of the first one's probability is no alternative caption.
MIN_SHARE = 0.05
# With this share of what is left a name needs no hedge after a better one was excluded.
STILL_SURE = 0.5
# For each unit of specificity a rarer name may be so much less likely than the first.
GIVEN_UP = 1 / 6
# How probable what may be beside a region is where nobody has looked.
USUALLY_THERE = 0.3
# Phrases that are rated at once.
_RATED = 1024
# So few regions keep one core busy for no longer than others take to come.
_FEW_ROWS = 8


class GroundedDecoder:
    """Captions regions with names and adjectives that have evidence, and with no others.

    The model reads ``[text vector | attribute strengths]`` and generates tokens of the vocabulary
    that the ``concepts`` make, which are what can be named; their ``embeddings``, (concepts, d),
    have unit length.
    """

    def __init__(
        self,
        model: PrefixGPT,
        concepts: Sequence[vocabulary.Concept],
        embeddings: npt.NDArray[np.floating],
        relations: Relations,
    ) -> None:
        self.model = model
        self.words = vocabulary.Words(concepts)
        self.embeddings = np.asarray(embeddings, np.float32)
        self.selection = Selection(self.words, relations, self.embeddings)
        self.grammar = GroundedGrammar(self.words, relations)
        self.scenes = Scenes(self.words, relations, self.embeddings)
        self._concepts = {concept.name: concept for concept in concepts}
        measured = [self.words.id(word) for word in (*ADJECTIVES, *QUANTITIES)]
        self._details = {*measured, *(self.words.id(word) for word in vocabulary.PLACES)}
        bias = torch.zeros(len(self.words))
        bias[measured] = MEASURED_BIAS
        spelling, ends = search.Spelling(self.words.pieces()), (self.words.id(vocabulary.END),)
        empty = torch.zeros(1, model.config.prefix_dim)
        self._plain = search.TokenText(
            spelling, ends, self.words.encode, self.words.text, empty=empty
        )
        self._grounded = replace(self._plain, bias=bias, goal_length_penalty=1.0)
        dim = self.embeddings.shape[1] + len(vocabulary.ATTRIBUTES)
        if len(self.words) != model.vocab_size or dim != model.config.prefix_dim:
            raise ModelError(
                f"The decoder knows {model.vocab_size} tokens and reads vectors of length "
                f"{model.config.prefix_dim}, but these concepts make {len(self.words)} and {dim}; "
                "use files that were made together."
            )

    @classmethod
    def open(cls, folder: str | Path) -> GroundedDecoder:
        """Read ``concepts.json``, ``text.safetensors`` and ``decoder.{json,safetensors}``."""
        folder = Path(folder)
        concepts = vocabulary.load_concepts(folder / "concepts.json")
        embeddings = vocabulary.load_embeddings(folder / "text.safetensors")
        try:
            record = json.loads((folder / "decoder.json").read_text("utf8"))
            trained_with, relations = record["concepts"], Relations.from_json(record["relations"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{folder / 'decoder.json'} cannot be read ({error}); install the package again."
            ) from error
        if trained_with != [concept.name for concept in concepts]:
            raise ModelError(
                f"The decoder in {folder} was trained with other concepts; train it again."
            )
        return cls(PrefixGPT.open(folder / "decoder.safetensors"), concepts, embeddings, relations)

    def decode(
        self,
        vectors: Floats,
        options: CaptionOptions | None = None,
        *,
        evidence: Sequence[Evidence] | None = None,
        **changes: Any,
    ) -> list[Caption]:
        """Caption every row, all rows together; see :class:`Decoder`.

        ``vectors`` (n, d + attributes) are unit mixtures of concept embeddings, then attribute
        strengths in the order of ``ATTRIBUTES``. For a region that is "sure" the caption is a
        phrase that names its first concept and nothing without evidence; where it is "unsure" a
        hedge; else the evidence's own text. Evidence with parts makes a phrase of the things that
        people mention most readily, whose score is the probability of the first. Without evidence
        the language model may generate anything it knows.

        Excluded names are ruled out before anything is chosen, and the rest is as probable as it is
        without them. Required words are taken on a person's word and named beside what was
        recognised, or alone, as probable as they are; what was not recognised at all is said in the
        ``problem``. ModelError if the vocabulary lacks them. A label is a name alone; a
        sentence says no more than a phrase.
        """
        options = (options or DEFAULTS).changed(changes)
        options = replace(options, beams=max(options.beams, 1))
        vectors = np.asarray(vectors, np.float32)
        if evidence is not None and len(evidence) != len(vectors):
            raise ModelError(
                f"There are {len(vectors)} vectors but {len(evidence)} evidences; give one each."
            )
        max_tokens = 30 if options.max_tokens is None else options.max_tokens
        max_tokens = min(max_tokens, self.model.longest)
        if evidence is None:
            inputs = torch.from_numpy(vectors)
            return search.caption_rows(self.model, inputs, self._plain, options, max_tokens)
        required = [self.words.encode(phrase) for phrase in options.must_include]
        permitted = [
            self._specific(_permitted(item, options), options.specificity) for item in evidence
        ]
        attempts = [self._attempts(item, options, required) for item in permitted]
        hypotheses: list[list[search.Hypothesis]] = [[] for _ in permitted]
        for turn in range(max(map(len, attempts), default=0)):
            rows = [row for row, held in enumerate(hypotheses) if not held]
            rows = [row for row in rows if len(attempts[row]) > turn]
            if rows:
                grounds = [attempts[row][turn] for row in rows]
                with one_core() if len(rows) <= _FEW_ROWS else nullcontext():
                    results = self._search(vectors[rows], grounds, options, max_tokens)
                for row, result in zip(rows, results, strict=True):
                    hypotheses[row] = result
        captions = [
            self._caption(item, vector, sentences, options, required, max_tokens)
            for item, vector, sentences in zip(permitted, vectors, hypotheses, strict=True)
        ]
        failed = [row for row, caption in enumerate(captions) if caption is None]
        if failed and options.must_include:
            # What cannot include the required words goes without them.
            freed, left = replace(options, must_include=()), [evidence[row] for row in failed]
            spare = self.decode(vectors[failed], freed, evidence=left)
            for row, caption in zip(failed, spare, strict=True):
                problem = caption.problem or search.missing_words(options)
                captions[row] = replace(caption, problem=problem)
        problem = "Nothing can be said of this region without these words; take one back."
        nothing = Caption("", 0.0, verdict="unsure", problem=problem)
        return [
            replace(caption or nothing, concepts=item.concepts[:3])
            for item, caption in zip(evidence, captions, strict=True)
        ]

    def log_likelihoods(
        self,
        vectors: Floats,
        texts: Sequence[str],
        *,
        evidence: Sequence[Evidence] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Return log p(text | vector), shape (n, texts); see :class:`TextRater`.

        A description of what is measured, or a hedge, is no text of its language model.
        """
        result = np.full((len(vectors), len(texts)), np.nan)
        sentences: dict[int, list[int]] = {}
        for row, text in enumerate(texts):
            with suppress(ModelError):
                tokens = [*self.words.encode(text), self.words.id(vocabulary.END)]
                if 1 < len(tokens) <= self.model.longest:
                    sentences[row] = tokens
        if sentences and len(vectors):
            inputs = torch.from_numpy(np.asarray(vectors, np.float32))
            sums = search.rate(self.model, inputs, list(sentences.values()))
            result[:, list(sentences)] = sums.double().numpy()
        return result

    def descriptions(
        self, evidence: Evidence, strengths: Mapping[str, float], name: str = ""
    ) -> list[Description]:
        """Return what else can be said of a region, see :meth:`Scenes.descriptions`."""
        return self.scenes.descriptions(evidence, strengths, name)

    @cached_property
    def _usual(self) -> dict[str, float]:
        """How usual each name is, as a logarithm: with how many others people mention it.

        The language model itself takes names from its vector, and has none of its own.
        """
        relations = self.selection.relations
        counts = Counter(name for pair in relations.together for name in pair)
        return {name: math.log(counts[name] + 1) for name in self._concepts}

    def _specific(self, evidence: Evidence, specificity: float) -> Evidence:
        """Return evidence that begins with the name that says most of the region alone.

        A name counts by how likely it is and how seldom it is said of anything; how much less
        likely than the first it may be grows with specificity, and it has to be right rather than
        wrong. What is there too is said the sooner, if it is there rather than not.
        """
        if not specificity or evidence.verdict != "sure" or evidence.parts:
            return evidence
        beside, around = (
            things and tuple(_dwelt_on(thing, specificity) for thing in things)
            for things in (evidence.beside, evidence.around)
        )
        evidence = replace(evidence, beside=beside, around=around or ())
        (first, best), *_ = evidence.concepts
        floor = max(STILL_SURE / max(evidence.score, STILL_SURE), 1 - specificity * GIVEN_UP)
        ranks = {
            (name, weight): (1 + specificity) * math.log(weight) - specificity * self._usual[name]
            for name, weight in evidence.concepts
            if name in self._usual and weight > 0 and (name == first or weight >= floor * best)
        }
        if first not in self._usual:
            return evidence
        chosen = max(ranks, key=lambda item: ranks[item])
        if chosen[0] == first:
            return evidence
        others = [concept for concept in evidence.concepts if concept != chosen]
        score = evidence.score * min(chosen[1] / best, 1.0)
        beside = beside and tuple(thing for thing in beside if thing.name != chosen[0])
        around = tuple(thing for thing in around or () if thing.name != chosen[0])
        return replace(
            evidence, concepts=(chosen, *others), score=score, beside=beside, around=around
        )

    def _attempts(
        self, evidence: Evidence, options: CaptionOptions, required: list[list[int]]
    ) -> list[Grounds]:
        """Find what may be named, to be tried in turn; a label is not searched for.

        What is required is tried beside what was recognised, then by itself.
        """
        unasked = not options.must_include and options.repetition is None
        together = bool(evidence.parts) or bool(self.scenes.of_region(evidence))
        if options.length == "label" or (unasked and together):
            # What is put together of parts needs no search.
            return []
        # A phrase is generated where the region is sure, or has no text of its own.
        appearance = evidence.verdict == "appearance" and evidence.text is None
        free = appearance or evidence.verdict == "sure"
        grounds = self.selection.grounds(evidence) if free else None
        if not options.must_include:
            return [] if grounds is None else [grounds]
        words = self.words
        tokens = [token for phrase in required for token in phrase]
        things = tuple(dict.fromkeys(self._concepts_of(tokens)))
        attributes = dict(evidence.attributes)
        for token in tokens:
            if words.tokens[token] in ADJECTIVES and token < words.function_words:
                attributes[words.tokens[token]] = 1.0
        plurals = set(words.plurals) - set(words.names)
        if not {*plurals, *map(words.id, QUANTITIES)}.isdisjoint(tokens):
            attributes["plural"] = 1.0
        attempts = []
        if grounds is not None:
            both = tuple(dict.fromkeys([*grounds.things, *things]))
            heads = tuple(dict.fromkeys([*grounds.heads, *things]))
            attempts.append(Grounds(both, heads, attributes))
        if things:
            attempts.append(Grounds(things, things, attributes))
        return attempts

    def _search(
        self, vectors: Floats, grounds: Sequence[Grounds], options: CaptionOptions, max_tokens: int
    ) -> list[list[search.Hypothesis]]:
        """Whole phrases that keep to their grounds and satisfy the options."""
        results: list[list[search.Hypothesis]] = [[] for _ in grounds]
        # Where beams hold every phrase there is, a search is not needed.
        few: dict[int, list[tuple[int, ...]]] = {}
        if not (options.must_include or options.must_exclude or options.repetition):
            for row, item in enumerate(grounds):
                phrases = self.grammar.phrases(item, options.beams)
                if phrases and max(map(len, phrases)) <= max_tokens:
                    few[row] = phrases
        many = [row for row in range(len(grounds)) if row not in few]
        if few:
            self._rate(vectors, few, options.specificity, results)
        if many:
            chosen = [grounds[row] for row in many]
            searched = self._beam_search(vectors[many], chosen, options, max_tokens)
            for row, hypotheses in zip(many, searched, strict=True):
                results[row] = hypotheses
        return [
            [h for h in row if h.ended and options.satisfied_by(self.words.text(h.tokens))]
            for row in results
        ]

    @torch.inference_mode()
    def _rate(
        self,
        vectors: Floats,
        phrases: Mapping[int, Sequence[tuple[int, ...]]],
        specificity: float,
        results: list[list[search.Hypothesis]],
    ) -> None:
        """Put the phrases of every row into its results, the likeliest first."""
        sentences = [(row, phrase) for row, all_of in phrases.items() for phrase in all_of]
        length = max(len(phrase) for _, phrase in sentences)
        end, bias = self.words.id(vocabulary.END), self._grounded.bias
        assert bias is not None
        padded = torch.tensor(
            [[*phrase, *[end] * (length - len(phrase))] for _, phrase in sentences]
        )
        for first in range(0, len(sentences), _RATED):
            part, tokens = sentences[first : first + _RATED], padded[first : first + _RATED]
            inputs = torch.from_numpy(vectors[[row for row, _ in part]])
            chances = self.model(inputs, tokens[:, :-1]).log_softmax(-1)
            gained = chances.gather(2, tokens[:, :, None])[..., 0]
            preferred = gained
            if specificity:
                assert self._plain.empty is not None
                nothing = self._plain.empty.expand(len(part), -1)
                without = self.model(nothing, tokens[:, :-1]).log_softmax(-1)
                both = torch.stack([chances, without], dim=2)
                compared = search.guided(both, specificity)
                preferred = compared.gather(2, tokens[:, :, None])[..., 0]
            preferred = preferred + bias[tokens]
            for (row, phrase), own, biased in zip(part, gained, preferred, strict=True):
                size = len(phrase)
                results[row].append(
                    search.Hypothesis(
                        tokens=phrase,
                        log_probabilities=tuple(own[:size].tolist()),
                        score=float(biased[:size].mean()),
                        ended=True,
                    )
                )
        for row in phrases:
            results[row].sort(key=lambda hypothesis: -hypothesis.score)

    def _beam_search(
        self, vectors: Floats, grounds: Sequence[Grounds], options: CaptionOptions, max_tokens: int
    ) -> list[list[search.Hypothesis]]:
        """Follow the likeliest phrases that keep to their grounds and the options."""

        def grammar(rows: Tensor, tokens: Tensor) -> Tensor:
            return self.grammar.mask(grounds, rows, tokens)

        # The model spells "a orange", before articles are made to agree.
        include, exclude = (
            [re.sub(r"\ban (?=\w)", "a ", phrase) for phrase in phrases]
            for phrases in (options.must_include, options.must_exclude)
        )
        spelt = replace(options, must_include=include, must_exclude=exclude)
        inputs, text = torch.from_numpy(vectors), self._grounded
        return search.constrained_search(
            self.model, inputs, text, spelt, max_tokens, grammar=grammar, keep_all=True
        )

    def _caption(
        self,
        evidence: Evidence,
        vector: Floats,
        hypotheses: Sequence[search.Hypothesis],
        options: CaptionOptions,
        required: list[list[int]],
        max_tokens: int,
    ) -> Caption | None:
        """Choose among what was generated and what needs no search; None where nothing will do."""
        concepts = self._concepts_of(token for phrase in required for token in phrase)
        basis = evidence
        if hypotheses or (options.length == "label" and concepts):
            names = tuple((self.words.concepts[concept].name, 0.0) for concept in concepts)
            known = evidence.concepts or tuple(dict(names).items())
            basis = replace(evidence, concepts=known, verdict="sure", text=None)
        caption = self._compose(basis, vector, hypotheses, max_tokens, options.specificity)
        phrases = [caption.text, *caption.alternatives]
        measured = basis.verdict == "appearance" and basis.text is not None
        if measured and options.excludes(caption.text):
            excluded = [word for p in options.must_exclude for word in options.spellings(p)]
            phrases = [texts.without_words(caption.text, excluded) or "", *phrases]
        elif options.length == "label" and basis.verdict == "sure":
            phrases = [self._required_label(basis, required), *phrases]
        # The few words that make a sentence of it may be excluded themselves.
        form = partial(
            texts.with_length, length=options.length, measured=measured, concepts=self._concepts
        )
        forms = ((form(phrase), phrase) for phrase in phrases)
        good = (next((f for f in pair if f and options.satisfied_by(f)), None) for pair in forms)
        distinct = [text for text in dict.fromkeys(good) if text]
        if not distinct:
            return None
        text, *others = distinct
        alternatives = tuple(others[: options.alternatives])
        caption = replace(caption, text=text, alternatives=alternatives, verdict=evidence.verdict)
        asked = (self.words.concepts[concept].name for concept in concepts)
        return _doubted(caption, evidence, tuple(dict.fromkeys(asked)))

    def _described(self, evidence: Evidence, names: Sequence[str], longest: int) -> Caption:
        """Phrases made of the parts of a picture; its likeliest names where there are none."""
        phrases = self.scenes.phrases(evidence.parts, longest)
        if evidence.verdict == "sure":
            region = self.scenes.of_region(evidence)
            phrases += [text for text in region if len(text.split()) < longest]
        head = self.scenes.chosen(evidence.parts)[:1]
        score = head[0].probability if head else evidence.score
        text, *others = dict.fromkeys([*phrases, *names])
        return Caption(text=text, score=score, alternatives=tuple(others))

    def _compose(
        self,
        evidence: Evidence,
        vector: Floats,
        hypotheses: Sequence[search.Hypothesis],
        longest: int,
        specificity: float,
    ) -> Caption:
        """Rank the phrases generated and the candidates; all others become alternatives."""
        concepts = evidence.concepts[:3]
        others = [
            texts.name_with_article(name, self._concepts)
            for name, weight in concepts
            if weight >= MIN_SHARE * concepts[0][1]
        ]
        if evidence.verdict == "appearance" and evidence.text is not None:
            caption = Caption(text=evidence.text, score=evidence.score)
        elif evidence.verdict == "unsure" or not concepts:
            caption = Caption(text=texts.hedge(concepts), score=evidence.score)
        elif not hypotheses:
            return self._described(evidence, others, longest)
        else:
            weights = {self.selection.index.get(name, -1): p for name, p in evidence.concepts}
            ranked = sorted(hypotheses, key=lambda h: -self._merit(h, vector, weights, specificity))
            distinct = {frozenset(self._concepts_of(h.tokens)): h for h in reversed(ranked)}
            ranked = [h for h in ranked if h in distinct.values()]
            caption = search.caption_of(ranked, self.words.text, alternatives=len(ranked))
        alternatives = dict.fromkeys([*caption.alternatives, *others])
        alternatives.pop(caption.text, None)
        return replace(caption, score=evidence.score, alternatives=tuple(alternatives))

    def _merit(
        self,
        hypothesis: search.Hypothesis,
        vector: Floats,
        weights: dict[int, float],
        specificity: float,
    ) -> float:
        """Likelihood of a phrase, and how near what it names is to the region's vector."""
        names = self._concepts_of(hypothesis.tokens)
        bag = np.array([weights.get(name, 0.0) for name in names]) @ self.embeddings[names]
        region = vector[: len(bag)]
        size = float(np.linalg.norm(bag) * np.linalg.norm(region))
        mean = sum(hypothesis.log_probabilities) / len(hypothesis.tokens)
        if specificity:
            mean = hypothesis.score
        details = sum(token in self._details for token in hypothesis.tokens)
        close = float(bag @ region) / size if size else 0.0
        return mean + DETAIL * details + COMPANY * len(names) + CLOSENESS * close

    def _concepts_of(self, tokens: Iterable[int]) -> list[int]:
        """Concepts that tokens name, in their order."""
        concepts = [int(self.words.concept_of[token]) for token in tokens]
        return [concept for concept in concepts if concept >= 0]

    def _required_label(self, evidence: Evidence, required: list[list[int]]) -> str:
        """Name a region: what must be named, or else what was recognised."""
        names: list[str] = []
        adjectives: list[str] = []
        for phrase in required:
            words = " ".join(self.words.tokens[token] for token in phrase)
            (names if self._concepts_of(phrase) else adjectives).append(words)
        if not names and evidence.concepts:
            head = self.scenes.chosen(evidence.parts)[:1]
            names = [head[0].name if head else evidence.concepts[0][0]]
        return " ".join([*adjectives, " and ".join(names)]).strip()


def _dwelt_on(thing: Thing, specificity: float) -> Thing:
    """Return a thing that is there rather than not as probable as specificity makes it."""
    if not STILL_SURE <= thing.probability < 1:
        return thing
    own, usual = (
        math.log(chance) - math.log1p(-chance) for chance in (thing.probability, USUALLY_THERE)
    )
    odds = (1 + specificity) * own - specificity * usual
    return replace(thing, probability=1 / (1 + math.exp(-odds)))


def _doubted(caption: Caption, evidence: Evidence, required: Sequence[str]) -> Caption:
    """Return a caption as sure as the least of the names that it must hold; say what none saw."""
    weights = dict(evidence.concepts)
    for thing in evidence.parts:
        weights[thing.name] = max(thing.probability, weights.get(thing.name, 0.0))
    # The first was rated apart from the others.
    if evidence.concepts and not evidence.parts:
        weights[evidence.concepts[0][0]] = evidence.score
    chances = [weights.get(name, 0.0) for name in required]
    unseen = [name for name in required if name not in weights]
    problem = caption.problem
    if unseen:
        problem = f"The model did not recognise {listed(unseen)} here and names it on your word."
    return replace(caption, score=min([caption.score, *chances]), problem=problem)


def _permitted_parts(
    evidence: Evidence, left: Sequence[tuple[str, float]], options: CaptionOptions
) -> Evidence:
    """Return evidence without parts that may not be named: one says nothing of another."""
    parts = tuple(thing for thing in evidence.parts if not options.excludes(thing.name))
    best = max((thing.probability for thing in parts), default=0.0)
    least = STILL_SURE if any(thing.number for thing in parts) else SURE
    is_sure = evidence.verdict == "sure" and best >= least
    verdict: Verdict = "sure" if is_sure else "unsure"
    return replace(evidence, parts=parts, concepts=tuple(left), score=best, verdict=verdict)


def _permitted(evidence: Evidence, options: CaptionOptions) -> Evidence:
    """Return evidence without what may not be named, as probable as the rest now is."""
    if not options.must_exclude:
        return evidence
    left = [concept for concept in evidence.concepts if not options.excludes(concept[0])]
    attributes = {
        word: strength
        for word, strength in evidence.attributes.items()
        if word not in ADJECTIVES or not options.excludes(word)
    }
    beside = evidence.beside and tuple(
        thing for thing in evidence.beside if not options.excludes(thing.name)
    )
    around = tuple(thing for thing in evidence.around if not options.excludes(thing.name))
    evidence = replace(evidence, attributes=attributes, beside=beside, around=around)
    if evidence.parts:
        return _permitted_parts(evidence, left, options)
    if len(left) == len(evidence.concepts):
        return evidence
    gone = sum(weight for name, weight in evidence.concepts if options.excludes(name))
    rest = max(1.0 - gone, 1e-6)
    shares = tuple((name, min(weight / rest, 1.0)) for name, weight in left)
    if evidence.concepts[0] in left or evidence.verdict == "appearance":
        return replace(evidence, concepts=shares)
    best = shares[0][1] if shares else 0.0
    verdict: Verdict = "sure" if best >= STILL_SURE else "unsure"
    return replace(evidence, concepts=shares, score=best, verdict=verdict)

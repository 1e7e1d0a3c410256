"""Names for regions after examples: how alike they are, and where likeness ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .describe import BLOCKS, COLOUR, GRID, RING, SIZE, Descriptions

FloatArray: TypeAlias = npt.NDArray[np.float64]
SingleArray: TypeAlias = npt.NDArray[np.float32]
AnyFloats: TypeAlias = npt.NDArray[Any]
IntArray: TypeAlias = npt.NDArray[np.intp]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Rule: TypeAlias = Literal["nearest examples", "nearest mean"]

# How much a block says before any example did, in pictures of fixed scale and in photographs.
_MICROGRAPH = {GRID: 8.0, RING: 2.0, COLOUR: 2.0, SIZE: 1.0}
_PHOTOGRAPH = {GRID: 8.0, RING: 0.1, COLOUR: 0.1, SIZE: 0.05}
# Vectors count by their angle; measured numbers by their distance, but no more than this.
_FARTHEST = 4.0
# Sizes a factor apart whose logarithm this is are at a squared distance of one.
_SIZE_UNIT = 0.5
# Examples that are left out in turn, of all classes together.
_MOST_LEFT_OUT = 160
# Logarithms of weights stay within this of where they start, and are drawn to it.
_FARTHEST_WEIGHT, _PULL, _STEPS = 3.0, 1.0, 20
# What another rule than the usual one has to gain, divided by the number of examples.
_DOUBT = 2.0
# Between things of one class (0) and of different ones (1), where names end.
_STRICT, _LEAST_GAP = 0.75, 0.1
# How far apart things of a class are before a second example shows it, as a share of how far
# different things are, and as how many examples that counts; in both kinds of pictures.
_GUESS_MICROGRAPH, _GUESS_PHOTOGRAPH = 0.77, 0.82
_GUESSES_MICROGRAPH, _GUESSES_PHOTOGRAPH = 10.0, 2.0
# What an example shows of its class where all others are of the same image, which has one light
# and one stain.
_ONE_IMAGE = 0.3
# How far different things are apart is what a region is from those that nobody named, and this
# share of it what the class is from these; and by this share what it is from the other classes.
_CLASS, _CLASSES = 0.5, 1 / 3
# In micrographs, as how many examples it counts that different things are as far apart as that;
# the nearest of several classes is nearer, the more there are.
_EXPECTED, _NEARER = 2.0, 0.125
_MOST_AROUND = 200
# How far different things are apart, in weights, as long as nothing shows it.
_ALONE = 1.75
# Examples closer than this share of the weights are the same thing.
_SAME = 1e-3
# How quickly, in units of that distance, a region is known the surer; and how much likelier, as a
# logarithm, it is known than not where names end: people mostly draw what they have taught.
_SOFT, _KNOWN = 1 / 12, 1.5
# In photographs, where likeness says less, a name is given only if it is likelier right than wrong.
_LIKELIER = 0.5
# Where the model knows the names: how much likeness to examples counts beside what it says, what it
# says at least of everything, how low logarithms get, and how much likelier, as a logarithm, it
# makes a name that people mostly draw what they have taught.
_SHARE, _TRACE, _LOWEST, _TAUGHT = 0.4, 0.003, -6.0, 4.6
# Factors on the scores that make chances honest, and the usual one in both kinds of pictures.
_FACTORS, _FACTOR_PULL = 2.0 ** np.arange(-2, 3.25, 0.25), 0.3
_FACTOR_MICROGRAPH, _FACTOR_PHOTOGRAPH = 0.8, 1.3
# From so many examples on vectors are compared by so many random projections of them.
_MANY, _SKETCH = 500, 512
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Naming:
    """What a classifier says of one region.

    Attributes
    ----------
    name : str or None
        The name; None where the region is unlike everything that was taught.
    score : float
        How likely the closest name is right, 0 to 1.
    closest : str
        The name that comes closest, whether or not it is close enough.
    example : int
        Position of the example that is most alike.
    """

    name: str | None
    score: float
    closest: str
    example: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """How examples fare when each is named by the others.

    ``counts[name][other]`` is how often one of ``name`` was taken for ``other``, both among the
    examples that could be left out; those with nothing else of their name are not counted.
    """

    counts: Mapping[str, Mapping[str, int]]

    @property
    def accuracy(self) -> float | None:
        """Mean of the shares of each name that were named right; None where nothing was counted."""
        shares = [row.get(name, 0) / sum(row.values()) for name, row in self.counts.items() if row]
        return sum(shares) / len(shares) if shares else None

    def summary(self) -> str:
        """Return in a sentence how many were named rightly; empty where nothing was counted.

        >>> Confusion({"RBC": {"RBC": 3, "WBC": 1}, "WBC": {}}).summary()
        '75% are named rightly when left out, of 1 of 2 names: the others have one example'
        """
        if self.accuracy is None:
            return ""
        judged = sum(bool(row) for row in self.counts.values())
        scope = ", each name counting the same"
        if judged < len(self.counts):
            scope = f", of {judged} of {len(self.counts)} names: the others have one example"
        return f"{self.accuracy:.0%} are named rightly when left out{scope}"

    def sentences(self, called: Callable[[str], str] = str) -> list[str]:
        """Return what was taken for what, the most frequent first; ``called`` words the names.

        >>> Confusion({"RBC": {"RBC": 37, "platelet": 3}, "platelet": {"platelet": 9}}).sentences()
        ['RBC taken for platelet 3 of 40']
        """
        wrong = [
            (-count / sum(row.values()), name, other, count)
            for name, row in self.counts.items()
            for other, count in row.items()
            if other != name
        ]
        return [
            f"{called(name)} taken for {called(other)} {count} of {sum(self.counts[name].values())}"
            for _, name, other, count in sorted(wrong)
        ]


@dataclass(frozen=True, eq=False, slots=True)
class _Space:
    """Brings the blocks to a common measure, learned from regions whether named or not."""

    means: Mapping[str, FloatArray]
    spreads: Mapping[str, FloatArray]

    @classmethod
    def fit(cls, regions: Descriptions) -> _Space:
        """Remember mean and spread of every number; those of the size are fixed."""
        means, spreads = {}, {}
        for name in BLOCKS:
            block = regions.blocks[name]
            spread = block.std(axis=0, dtype=np.float64)
            means[name] = block.mean(axis=0, dtype=np.float64)
            spreads[name] = spread + 1e-3 * spread.mean() + _TINY
        spreads[SIZE] = np.full(1, _SIZE_UNIT)
        return cls(means, spreads)

    def vectors(self, regions: Descriptions) -> list[SingleArray]:
        """Return one array per block, (n, width), whose squared distances are of order one."""
        vectors = []
        for name in BLOCKS:
            block = regions.blocks[name] - self.means[name].astype(np.float32)
            block /= self.spreads[name].astype(np.float32)
            vectors.append(_unit(block) if name == GRID else block / np.sqrt(block.shape[1]))
        return [block.astype(np.float32, copy=False) for block in vectors]


@dataclass(frozen=True, eq=False, slots=True)
class _LeftOut:
    """Examples, each judged by others: ``allowed[i, j]`` says whether j may judge i."""

    labels: IntArray
    count: int
    groups: IntArray
    allowed: BoolArray
    among: list[FloatArray]
    """Squared distances in each block, shape (n, n)."""
    to_means: list[FloatArray]
    """To the means of classes without the example itself, shape (n, count)."""
    around: list[FloatArray]
    """Means of those to the regions that nobody named, shape (n,)."""

    @classmethod
    def of(
        cls,
        vectors: list[FloatArray],
        around: Sequence[AnyFloats],
        labels: IntArray,
        groups: IntArray,
        count: int,
    ) -> _LeftOut:
        """Compare examples, shape (n, width) in each block, with each other and with others."""
        allowed = _judges(labels, groups)
        pairs = list(zip(BLOCKS, vectors, strict=True))
        among = [_capped(_squared(rows, rows), name) for name, rows in pairs]
        means = [_distances_to_means(rows, labels, count, name, allowed) for name, rows in pairs]
        return cls(labels, count, groups, allowed, among, means, _means_to(around, vectors))

    @property
    def has_pairs(self) -> bool:
        """Whether there are several classes, and two examples at least of each."""
        return self.count > 1 and bool((np.bincount(self.labels, minlength=self.count) > 1).all())

    def scores(self, rule: Rule, weights: FloatArray) -> FloatArray:
        """Return how well each class fits each example, (n, count); -inf where nothing judges."""
        if rule == "nearest mean":
            return -_weighted(weights, self.to_means)
        likeness = -_weighted(weights, self.among)
        return _log_means(likeness, self.labels, self.count, self.allowed)

    def own(self, scores: FloatArray) -> FloatArray:
        """Return the score of each example's own class."""
        return np.asarray(scores[np.arange(len(scores)), self.labels])

    @property
    def counted(self) -> FloatArray:
        """How much each example shows of its class, shape (n,): less if all are of its image."""
        same = self.labels[:, None] == self.labels
        elsewhere = (same & (self.groups[:, None] != self.groups)).any(axis=1)
        return np.where(elsewhere, 1.0, _ONE_IMAGE)

    def loss(self, scores: FloatArray) -> float:
        """Return the negative log-likelihood of the right classes, each class counting the same."""
        judged = np.isfinite(self.own(scores))
        if self.count < 2 or not judged.any():
            return 0.0
        labels = self.labels[judged]
        lost = -_log_softmax(scores[judged])[np.arange(len(labels)), labels]
        return float(np.mean([lost[labels == label].mean() for label in np.unique(labels)]))

    def confusion(self, scores: FloatArray, names: Sequence[str]) -> Confusion:
        """Count what each example is taken for."""
        judged = np.isfinite(self.own(scores))
        counts: dict[str, dict[str, int]] = {name: {} for name in names}
        for label, best in zip(self.labels[judged], scores[judged].argmax(axis=1), strict=True):
            row = counts[names[label]]
            row[names[best]] = row.get(names[best], 0) + 1
        return Confusion(counts)


class Classifier:
    """Names regions after examples, from one example on; made by :meth:`fit`.

    The same examples in another order give the same classifier.

    Attributes
    ----------
    names : tuple of str
        The classes, sorted.
    weights : mapping of str to float
        How much each block counts.
    rule : {"nearest examples", "nearest mean"}
        How classes are compared; leaving examples out has chosen it.
    limits : mapping of str to float
        By name, how far from its examples a region is left without it: as a share of how far
        different things are apart, which regions that nobody named show, and the other names.
    confusion : Confusion
        What leaving examples out has shown.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        space: _Space,
        vectors: list[SingleArray],
        labels: IntArray,
        order: IntArray,
        around: list[SingleArray],
        choice: _Choice,
    ) -> None:
        self.names = names
        self.weights = dict(zip(BLOCKS, choice.weights.tolist(), strict=True))
        self.limits = dict(zip(names, choice.limits.tolist(), strict=True))
        self.rule, self.confusion = choice.rule, choice.confusion
        self._choice, self._around = choice, around
        self._space, self._vectors, self._labels, self._order = space, vectors, labels, order
        self._starts = np.searchsorted(labels, np.arange(len(names)))
        self._sizes = np.bincount(labels, minlength=len(names))
        self._sketch: SingleArray | None = None
        dim = vectors[0].shape[1]
        if len(labels) > _MANY and dim > _SKETCH:
            numbers = np.random.default_rng(0).standard_normal((dim, _SKETCH)) / np.sqrt(_SKETCH)
            self._sketch = numbers.astype(np.float32)
        self._stored = [(rows, (rows**2).sum(axis=1)) for rows in self._shortened(vectors)]

    @classmethod
    def fit(
        cls,
        examples: Descriptions,
        names: Sequence[str],
        background: Descriptions,
        *,
        groups: Sequence[int] | None = None,
        photograph: float | None = None,
    ) -> Classifier:
        """Learn from examples.

        Parameters
        ----------
        examples : Descriptions
            One row per example, at least one.
        names : sequence of str
            Of each example.
        background : Descriptions
            Regions of the same images that nobody named; there may be none.
        groups : sequence of int, optional
            The image of each example. An example is left out together with those of its image,
            where there are others of the class.
        photograph : float, optional
            How likely the images are photographs, 0 to 1, which show things at any size and in any
            light; 0.5 where nobody knows.
        """
        classes = tuple(sorted(set(names)))
        number = {name: label for label, name in enumerate(classes)}
        order = _canonical_order(examples, names)
        examples = examples.take(order)
        labels = np.array([number[names[row]] for row in order], np.intp)
        images = np.arange(len(labels)) if groups is None else np.asarray(groups, np.intp)[order]
        everything = Descriptions.joined(
            [examples, background.take(_canonical_order(background, [""] * len(background)))]
        )
        space = _Space.fit(everything)
        vectors = space.vectors(examples)
        rows = _sample(labels, len(classes))
        sample = [block[rows].astype(np.float64) for block in vectors]
        unnamed = np.arange(len(examples), len(everything))
        unnamed = unnamed[:: max(1, len(unnamed) // _MOST_AROUND)]
        around = space.vectors(everything.take(unnamed))
        left_out = _LeftOut.of(sample, around, labels[rows], images[rows], len(classes))
        choice = _Choice.best(left_out, 0.5 if photograph is None else photograph, classes)
        return cls(classes, space, vectors, labels, order, around, choice)

    def __call__(self, regions: Descriptions, said: AnyFloats | None = None) -> list[Naming]:
        """Name regions.

        ``said``, shape (n, classes), is how likely each shows what a name means by what the model
        had learned before; NaN for names that it does not know. Where it is given, a name has to be
        likelier than none at all and not only than the others.
        """
        if not len(regions):
            return []
        vectors = self._space.vectors(regions)
        likeness = self._likeness(vectors)
        if self.rule == "nearest mean":
            distances = [
                _capped(_squared(means, rows), name)
                for name, means, rows in zip(BLOCKS, self._means, vectors, strict=True)
            ]
            scores = -_weighted(self._choice.weights, distances)
        else:
            scores = self._class_scores(likeness)
        best = scores.argmax(axis=1)
        named = np.arange(len(best)), best
        apart = self._choice.apart(scores, best, _means_to(self._around, vectors))
        steps = (self._choice.limits[best] + scores[named] / apart) / self._choice.softness
        steps = np.clip(steps, -30, 30)
        shares = _log_softmax(self._choice.sharpness * scores)
        likely = -np.log1p(np.exp(-_KNOWN - steps))
        if said is None:
            chances = np.exp(shares[named] + likely)
            known = (steps >= 0) & (chances >= self._choice.least)
        else:
            together = _with_what_is_said(shares, likely, np.asarray(said, np.float64))
            chances, best = together.max(axis=1), together.argmax(axis=1)
            heard = ~np.isnan(said[np.arange(len(best)), best])
            known = (chances >= _LIKELIER) & (heard | (steps >= 0))
        nearest = self._order[likeness.argmax(axis=1)]
        return [
            Naming(
                self.names[label] if is_known else None, float(chance), self.names[label], int(near)
            )
            for label, is_known, chance, near in zip(
                best.tolist(), known, chances, nearest, strict=True
            )
        ]

    def _likeness(self, vectors: list[SingleArray]) -> SingleArray:
        """Return how alike regions and examples are, shape (n, examples): 0 for the very same."""
        likeness = np.zeros((len(vectors[0]), len(self._labels)), np.float32)
        pairs = zip(BLOCKS, self._stored, self._shortened(vectors), strict=True)
        for name, (stored, lengths), rows in pairs:
            distances = _capped(_squared(stored, rows, lengths), name)
            distances *= np.float32(self.weights[name])
            likeness -= distances
        return likeness

    def _class_scores(self, likeness: SingleArray) -> FloatArray:
        """Return per class the logarithm of the mean of exponentials, shape (n, classes)."""
        top = np.maximum.reduceat(likeness, self._starts, axis=1)
        likeness = likeness - np.repeat(top, self._sizes, axis=1)
        sums = np.add.reduceat(np.exp(likeness, out=likeness), self._starts, axis=1)
        return top + np.log(sums.astype(np.float64) / self._sizes)

    @cached_property
    def _means(self) -> list[FloatArray]:
        """The mean of each class in each block, shape (classes, width)."""
        means = []
        for name, vectors in zip(BLOCKS, self._vectors, strict=True):
            sums = np.add.reduceat(vectors, self._starts, axis=0, dtype=np.float64)
            rows = sums / self._sizes[:, None]
            means.append(_unit(rows) if name == GRID else rows)
        return means

    def _shortened(self, vectors: list[SingleArray]) -> list[SingleArray]:
        """Return the vectors, the long ones projected where there are many examples."""
        if self._sketch is None:
            return vectors
        return [vectors[0] @ self._sketch, *vectors[1:]]


@dataclass(frozen=True, eq=False, slots=True)
class _Choice:
    """What leaving examples out has settled."""

    rule: Rule
    weights: FloatArray
    limits: FloatArray
    softness: float
    apart: _Apart
    sharpness: float
    least: float
    confusion: Confusion

    @classmethod
    def best(cls, left_out: _LeftOut, photograph: float, names: Sequence[str]) -> _Choice:
        """Take what predicts examples left out best, the usual way unless another is clearly so."""
        micrograph, other = (
            np.log([usual[name] for name in BLOCKS]) for usual in (_MICROGRAPH, _PHOTOGRAPH)
        )
        starts = [(1 - photograph) * micrograph + photograph * other]
        if left_out.has_pairs:
            starts += [micrograph, other]
        rules: tuple[Rule, ...] = ("nearest examples", "nearest mean")
        least = np.inf
        for number, start in enumerate(starts):
            weights = _fitted_weights(left_out, start)
            for rule in rules:
                scores = left_out.scores(rule, weights)
                doubt = 0.0 if number == 0 and rule == rules[0] else _DOUBT / len(left_out.labels)
                loss = left_out.loss(scores) + doubt
                if loss < least:
                    least, chosen = loss, (rule, weights, scores)
        rule, weights, scores = chosen
        apart = _Apart.of(left_out, scores, weights, photograph)
        limits, softness = _limits(left_out, scores, apart)
        factor = _mixed(_FACTOR_MICROGRAPH, _FACTOR_PHOTOGRAPH, photograph)
        sharpness = _sharpness(left_out, scores, factor)
        confusion = left_out.confusion(scores, names)
        least = _LIKELIER * photograph
        return cls(rule, weights, limits, softness, apart, sharpness, least, confusion)


@dataclass(frozen=True, eq=False, slots=True)
class _Apart:
    """How far from a region things are that are something else."""

    weights: FloatArray
    photograph: float
    usual: float
    """How far the classes are apart, which says it all in photographs."""
    classes: FloatArray
    """How far each class is from the regions that nobody named, shape (count,)."""

    @classmethod
    def of(
        cls, left_out: _LeftOut, scores: FloatArray, weights: FloatArray, photograph: float
    ) -> _Apart:
        """Learn it from the examples and what nobody named."""
        others = scores.copy()
        others[np.arange(len(others)), left_out.labels] = -np.inf
        nearest = -others.max(axis=1)
        # The very same thing under two names says nothing of how far different ones are apart.
        nearest = nearest[np.isfinite(nearest) & (nearest > _SAME * weights.sum())]
        usual = float(np.median(nearest)) if len(nearest) else _ALONE * float(weights.sum())
        logs = np.log(np.maximum(_weighted(weights, left_out.around), _TINY))
        means = [logs[left_out.labels == label].mean() for label in range(left_out.count)]
        return cls(weights, photograph, max(usual, _TINY), np.exp(means))

    def __call__(
        self, scores: FloatArray, labels: IntArray, around: Sequence[FloatArray]
    ) -> FloatArray:
        """Return it for regions that may be of these classes, shape (n,).

        ``around`` are their mean distances in each block from the regions that nobody named.
        """
        unnamed = np.maximum(_weighted(self.weights, around), _TINY)
        far = unnamed ** (1 - _CLASS) * self.classes[labels] ** _CLASS
        rest = self.rest(scores, labels)
        known = np.isfinite(rest)
        far[known] = far[known] ** (1 - _CLASSES) * rest[known] ** _CLASSES
        return np.asarray(far ** (1 - self.photograph) * self.usual**self.photograph)

    def rest(self, scores: FloatArray, labels: IntArray) -> FloatArray:
        """Return how far regions are from the other classes on average; NaN where none is apart."""
        away = np.where(np.isfinite(scores), -scores, 0.0)
        away[np.arange(len(away)), labels] = 0.0
        number = (away > _SAME * self.weights.sum()).sum(axis=1)
        return np.where(number > 0, away.sum(axis=1) / np.maximum(number, 1), np.nan)


class Likeness:
    """How like some examples regions are: 1 for a copy of one, 0 for what is usual elsewhere."""

    def __init__(self, examples: Descriptions, usual: Descriptions) -> None:
        self._space = _Space.fit(Descriptions.joined([usual, examples]))
        self._examples = self._space.vectors(examples)
        self._typical = 1.0
        self._typical = float(np.median(1 - self(usual))) + _TINY
        between = self._distances(examples)
        np.fill_diagonal(between, np.inf)
        alike = 1 - between.min(axis=1) / self._typical if len(examples) > 1 else np.zeros(1)
        self.among_examples = max(float(alike.mean()), 0.0)
        """What one more example would get; 0 where there is one only."""

    def __call__(self, regions: Descriptions) -> FloatArray:
        """Return the likeness to the nearest example, shape (n,)."""
        return np.asarray(1 - self._distances(regions).min(axis=1) / self._typical)

    def _distances(self, regions: Descriptions) -> FloatArray:
        """Return distances to the examples whatever their size, shape (n, examples)."""
        weights = np.array([0.0 if name == SIZE else _MICROGRAPH[name] for name in BLOCKS])
        pairs = zip(BLOCKS, self._examples, self._space.vectors(regions), strict=True)
        return _weighted(weights, [_capped(_squared(own, rows), name) for name, own, rows in pairs])


def _with_what_is_said(shares: FloatArray, likely: FloatArray, said: FloatArray) -> FloatArray:
    """Return how likely each name is right, shape (n, classes), after examples and the model.

    ``shares`` are logarithms of the chances among the names, ``likely`` those that a region is of
    any of them. The rest of each row is the chance that no name is right.
    """
    examples = np.maximum(shares, _LOWEST) + np.maximum(likely, _LOWEST)[:, None]
    alone = np.minimum(shares + likely[:, None], -_TINY)
    odds = alone - np.log(-np.expm1(alone))
    both = _TAUGHT + _SHARE * examples + np.log(np.nan_to_num(said) + _TRACE)
    odds = np.where(np.isnan(said), odds, both)
    odds = np.concatenate([odds, np.zeros((len(odds), 1))], axis=1)
    return np.exp(_log_softmax(odds))[:, :-1]


def _canonical_order(regions: Descriptions, names: Sequence[str]) -> IntArray:
    """Return an order of rows that depends on what they hold alone."""
    rows = np.hstack([regions.blocks[name] for name in BLOCKS])
    keys = [(name, row.tobytes()) for name, row in zip(names, rows, strict=True)]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.intp)


def _sample(labels: IntArray, count: int) -> IntArray:
    """Return rows that are left out in turn: about as many of each class."""
    chosen = []
    for label in range(count):
        rows = np.flatnonzero(labels == label)
        most = min(len(rows), max(2, _MOST_LEFT_OUT // count))
        chosen.append(rows[np.linspace(0, len(rows) - 1, most).astype(int)])
    return np.sort(np.concatenate(chosen))


def _judges(labels: IntArray, groups: IntArray) -> BoolArray:
    """Say which example may judge which: of other images where the class has any, never itself."""
    elsewhere = np.asarray(groups[:, None] != groups[None])
    allowed = elsewhere.copy()
    for label in np.unique(labels):
        members = labels == label
        alone = ~elsewhere[:, members].any(axis=1)
        allowed[np.ix_(alone, members)] = True
    np.fill_diagonal(allowed, False)
    return allowed


def _unit(rows: AnyFloats) -> AnyFloats:
    """Return rows divided by their lengths."""
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + _TINY))


def _squared(stored: AnyFloats, rows: AnyFloats, lengths: AnyFloats | None = None) -> AnyFloats:
    """Return squared distances, shape (len(rows), len(stored)); ``lengths`` are squared ones."""
    products = rows @ stored.T
    products *= -2
    products += (stored**2).sum(axis=1) if lengths is None else lengths
    products += (rows**2).sum(axis=1)[:, None]
    return np.asarray(np.maximum(products, 0, out=products))


def _capped(distances: AnyFloats, name: str) -> AnyFloats:
    """Return distances, those of measured numbers no larger than the farthest that counts."""
    return distances if name == GRID else np.minimum(distances, _FARTHEST, out=distances)


def _weighted(weights: FloatArray, parts: Sequence[AnyFloats]) -> FloatArray:
    """Return the weighted sum of distances in the blocks."""
    return np.asarray(sum(w * part for w, part in zip(weights, parts, strict=True)), np.float64)


def _log_means(
    likeness: FloatArray, labels: IntArray, count: int, allowed: BoolArray
) -> FloatArray:
    """Return per class the logarithm of the mean of exponentials among allowed examples."""
    scores = np.full((len(likeness), count), -np.inf)
    for label in range(count):
        judges = allowed[:, labels == label]
        part = np.where(judges, likeness[:, labels == label], -np.inf)
        top = part.max(axis=1)
        some = np.isfinite(top)
        sums = np.exp(part[some] - top[some, None]).sum(axis=1)
        scores[some, label] = top[some] + np.log(sums / judges[some].sum(axis=1))
    return scores


def _log_softmax(scores: FloatArray) -> FloatArray:
    """Return the logarithms of the chances of classes."""
    scores = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))


def _distances_to_means(
    rows: FloatArray, labels: IntArray, count: int, name: str, allowed: BoolArray
) -> FloatArray:
    """Return squared distances to the means of the classes, each example left out of its own."""
    distances = np.full((len(rows), count), np.inf)
    for label in range(count):
        members = allowed[:, labels == label].astype(float)
        some = members.any(axis=1)
        means = members @ rows[labels == label] / np.maximum(members.sum(axis=1), 1)[:, None]
        means = _unit(means) if name == GRID else means
        distances[some, label] = _capped(((rows[some] - means[some]) ** 2).sum(axis=1), name)
    return distances


def _fitted_weights(left_out: _LeftOut, start: FloatArray) -> FloatArray:
    """Return weights of the blocks that predict examples left out, near ``exp(start)``."""
    labels, count, allowed = left_out.labels, left_out.count, left_out.allowed
    rows, members = np.arange(len(labels)), np.eye(count)[labels]
    judges = allowed.astype(float) @ members
    used = judges[rows, labels] > 0
    if count < 2 or not used.any():
        return np.asarray(np.exp(start))
    counts = np.bincount(labels[used], minlength=count).clip(1)
    share = np.where(used, 1 / counts[labels], 0.0)
    share /= share.sum()
    among = np.stack(left_out.among)
    pull = _PULL / used.sum()

    def loss(logs: FloatArray) -> tuple[float, FloatArray]:
        weights = np.exp(logs)
        likeness = np.where(allowed, -np.tensordot(weights, among, 1), -np.inf)
        raised = np.exp(likeness - likeness.max(axis=1, keepdims=True))
        sums = raised @ members + 1e-300
        chances = np.where(judges > 0, sums / judges.clip(1), 0.0)
        chances /= chances.sum(axis=1, keepdims=True)
        # How each class's score changes along the logarithm of each weight.
        drawn = np.stack([(raised * part) @ members for part in among])
        slopes = -weights[:, None, None] * drawn / sums
        own = chances[rows, labels].clip(1e-12)
        gains = slopes[:, rows, labels] - (slopes * chances).sum(axis=2)
        away = logs - start
        value = -(share * np.log(own)).sum() + pull * (away**2).sum()
        return float(value), -(gains * share).sum(axis=1) + 2 * pull * away

    bounds = [(log - _FARTHEST_WEIGHT, log + _FARTHEST_WEIGHT) for log in start]
    from scipy.optimize import minimize  # not before it is needed: it takes a while

    options = {"maxiter": _STEPS}
    done = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(np.exp(done.x))


def _limits(left_out: _LeftOut, scores: FloatArray, apart: _Apart) -> tuple[FloatArray, float]:
    """Return the share of being apart at which each name ends, and how gradual that is.

    An example left out stands for things that were taught; its distance from the other classes for
    things that were not. Both count beside a few examples that are as is usual.
    """
    labels, count, photograph = left_out.labels, left_out.count, apart.photograph
    units = apart(scores, labels, left_out.around)
    own, rest = -left_out.own(scores) / units, apart.rest(scores, labels) / units
    rest = rest[np.isfinite(rest)] * (1 - _NEARER * np.sqrt(np.log(count)))
    expected = _EXPECTED * (1 - photograph) + _TINY
    far = min((rest.sum() + expected) / (len(rest) + expected), 1.0)
    guess = (1 - photograph) * _GUESS_MICROGRAPH + photograph * _GUESS_PHOTOGRAPH
    guesses = _mixed(_GUESSES_MICROGRAPH, _GUESSES_PHOTOGRAPH, photograph)
    judged = np.isfinite(own)
    labels, own, counted = labels[judged], own[judged], left_out.counted[judged]
    near = (counted @ own + guesses * guess * far) / (counted.sum() + guesses)
    sums = np.bincount(labels, counted * own, count)
    numbers = np.bincount(labels, counted, count)
    each = (sums + guesses * near) / (numbers + guesses)
    limits = each + _STRICT * np.maximum(far - each, _LEAST_GAP * far)
    return np.asarray(limits), _SOFT * far


def _means_to(around: Sequence[AnyFloats], vectors: Sequence[AnyFloats]) -> list[FloatArray]:
    """Return mean distances in each block from the regions that nobody named, shape (n,).

    As if there were one more of those, at the distance that is usual as long as nothing shows it.
    """
    means = []
    for name, unnamed, rows in zip(BLOCKS, around, vectors, strict=True):
        distances = _capped(_squared(unnamed, rows), name).sum(axis=1, dtype=np.float64)
        means.append((distances + _ALONE) / (len(unnamed) + 1))
    return means


def _mixed(first: float, second: float, share: float) -> float:
    """Return the geometric mean of two numbers, the second with this weight."""
    return float(first ** (1 - share) * second**share)


def _sharpness(left_out: _LeftOut, scores: FloatArray, usual: float) -> float:
    """Return a factor on the scores that makes the chances of examples left out honest."""
    judged = int(np.isfinite(left_out.own(scores)).sum())
    if left_out.count < 2 or not judged:
        return usual
    losses = [
        left_out.loss(factor * scores) + _FACTOR_PULL / judged * np.log(factor / usual) ** 2
        for factor in _FACTORS
    ]
    return float(_FACTORS[int(np.argmin(losses))])

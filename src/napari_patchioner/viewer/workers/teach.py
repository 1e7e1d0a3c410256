"""Learning names from regions, and naming others, in a worker: from grids at hand to lexicons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import NamedTuple

from napari_patchioner.backbones import RegionEncoder
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import ImageError, PatchionerError
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.images import Levels
from napari_patchioner.progress import Progress
from napari_patchioner.regions import Region
from napari_patchioner.teaching import (
    Descriptions,
    Example,
    ImageMeasures,
    Lexicon,
    Naming,
    Origin,
    TaughtImage,
    background,
    check_example,
    describe,
)
from napari_patchioner.viewer.layers.geometry import untangled

from .encode import Overview
from .models import ModelRegistry
from .plane import PlaneSource

# Regions that are described between two checks whether the job is cancelled.
BATCH = 64
# Where each region lies and in which grid: what it was described from.
Stamp = tuple[str, str]


class Described(NamedTuple):
    """What is known of one region, one row; and a small picture of it, of an example."""

    stamp: Stamp
    row: Descriptions
    thumbnail: bytes = b""


@dataclass(eq=False, slots=True)
class Picture:
    """One encoded plane: its grid, and what is measured of its pixels when that is asked for.

    Two workers may ask at a time: the second one waits for the first.
    """

    grid: FeatureGrid
    sizes: tuple[PlaneSource, ...]
    # Whether all that can be known before anybody teaches is.
    prepared: bool = False
    _measures: ImageMeasures | None = None
    _around: Descriptions | None = None
    _lock: RLock = field(default_factory=RLock)

    @property
    def measures(self) -> ImageMeasures:
        """The pixels as they were displayed when they were encoded, measured once."""
        with self._lock:
            if self._measures is None:
                self._measures = ImageMeasures(Levels(self.sizes))
        return self._measures

    def around(self, captioner: Captioner) -> Descriptions:
        """Return what surrounds examples, described once, by a captioner of the grid's backbone."""
        with self._lock:
            if self._around is None:
                self._around = background(captioner, self.grid, self.measures)
        return self._around


class Target(NamedTuple):
    """A region to describe, outlined by the worker."""

    uid: str
    stamp: Stamp
    picture: Picture
    outline: Callable[[], Region]
    # What is known of it already, where it lacks only a picture
    row: Descriptions | None = None


@dataclass(frozen=True, eq=False, slots=True)
class LearningTask:
    """What is to be learned from one image, and which of its regions are to be named.

    Attributes
    ----------
    model : str
        What its grids were encoded with; empty where there are none.
    image, content : str
        What lexicons call the image.
    targets : tuple of Target
        Regions nobody has described yet.
    known : mapping of str to Described
        Those that were, by uid.
    wanted : mapping of str to str
        Names of examples to learn from, which the lexicon lacks, by uid.
    renamed : mapping of str to str
        New names of examples that lexicons have, by uid.
    dropped : frozenset of str
        Uids that are no examples any more, or of other things.
    open : tuple of str
        Uids of all regions that may be named.
    stale : frozenset of str
        Those of them whose names are of another lexicon, or of another place.
    picture : Picture, optional
        One of its planes, where there is a grid.
    """

    model: str
    image: str
    content: str
    targets: tuple[Target, ...] = ()
    known: Mapping[str, Described] = field(default_factory=dict)
    wanted: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    open: tuple[str, ...] = ()
    stale: frozenset[str] = frozenset()
    picture: Picture | None = None

    @property
    def changes_lexicons(self) -> bool:
        """Whether lexicons change by it."""
        return bool(self.wanted or self.renamed or self.dropped)


@dataclass(frozen=True, eq=False, slots=True)
class Update:
    """A part of what came of tasks, given over as soon as it is known.

    Attributes
    ----------
    task : int
        Position of the task that it is about; -1 for all of them.
    described : mapping of str to Described
        By uid.
    faults : mapping of str to str
        Why regions could not be described, by uid.
    origins : mapping of str to Origin
        Of the vectors of each model.
    lexicons : mapping of Origin to Lexicon, optional
        All there are now.
    names : mapping of str to Naming
        By uid.
    """

    task: int = -1
    described: Mapping[str, Described] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    lexicons: Mapping[Origin, Lexicon] | None = None
    names: Mapping[str, Naming] = field(default_factory=dict)


def prepare(
    registry: ModelRegistry,
    model: str,
    picture: Picture,
    targets: Sequence[Target],
    progress: Progress,
) -> Iterator[Mapping[str, Described]]:
    """Measure a plane and describe its regions ahead, so that what is taught is learned at once."""
    from scipy import optimize  # noqa: F401  # what learning takes longest to load

    progress(0.0, "measuring")
    picture.prepared = True
    if max(picture.measures.shape) > 1024 or isinstance(picture.grid, Overview):
        return
    picture.measures.whole()
    for start in range(0, len(targets) or 1, BATCH):
        with registry.using(model, progress) as captioner:
            # Such a one encodes every region anew, perhaps for nothing.
            if isinstance(captioner.backbone, RegionEncoder):
                return
            picture.around(captioner)
            described, _ = _described(captioner, targets[start : start + BATCH], progress)
        yield described


def fit(lexicon: Lexicon) -> None:
    """Work out what a lexicon does at the first question, in a worker and not in the window."""
    _ = lexicon.classifier, lexicon.digest


def is_fitted(lexicon: Lexicon) -> bool:
    """Whether `fit` has been done."""
    return {"classifier", "digest"} <= vars(lexicon).keys()


def digest_of(lexicon: Lexicon | None) -> str:
    """Return the digest of a lexicon that is fitted; empty for none and any other."""
    return lexicon.digest if lexicon is not None and is_fitted(lexicon) else ""


def learn(
    registry: ModelRegistry,
    lexicons: Mapping[Origin, Lexicon],
    tasks: Sequence[LearningTask],
    progress: Progress,
) -> Iterator[Update]:
    """Describe examples, learn from them, then name what is like them, a part at a time."""
    known = [dict(task.known) for task in tasks]
    learned = dict(lexicons)
    for task in tasks:
        for origin, lexicon in list(learned.items()):
            changed = without(lexicon, task.content, task.dropped)
            if changed is not None:
                changed = renamed(changed, task.content, task.renamed)
            _put(learned, origin, changed)
    origins: dict[str, Origin] = {}
    for number, task in enumerate(tasks):
        if not task.model:
            continue
        with registry.using(task.model, progress) as captioner:
            origin = origins[task.model] = Origin.of(captioner)
            own = [target for target in task.targets if target.uid in task.wanted]
            described, faults = _described(captioner, own, progress, thumbnails=True)
            known[number] |= described
            if described or faults:
                yield Update(number, described, faults)
            _put(learned, origin, taught(captioner, task, known[number], learned.get(origin)))
    for lexicon in learned.values():
        if not is_fitted(lexicon):
            progress(0.0, "learning")
            fit(lexicon)
    yield Update(origins=origins, lexicons=learned)
    for number, task in enumerate(tasks):
        if not task.model:
            continue
        others = [target for target in task.targets if target.uid not in task.wanted]
        origin = origins[task.model]
        names = learned.get(origin)
        is_new = names is not lexicons.get(origin)
        uids = [u for u in task.open if u in known[number] and (is_new or u in task.stale)]
        with registry.using(task.model, progress) as captioner:
            update = _named(captioner, names, number, uids, known)
        yield update
        for start in range(0, len(others), BATCH):
            batch = others[start : start + BATCH]
            progress(start / len(others), f"comparing: {start} of {len(others)}")
            with registry.using(task.model, progress) as captioner:
                described, faults = _described(captioner, batch, progress)
                known[number] |= described
                uids = [uid for uid in described if uid in task.open]
                update = _named(captioner, names, number, uids, known)
            yield Update(number, described, faults)
            yield update


def _named(
    captioner: Captioner,
    lexicon: Lexicon | None,
    number: int,
    uids: Sequence[str],
    known: Sequence[dict[str, Described]],
) -> Update:
    """Return the names of regions that are described."""
    if lexicon is None or not uids:
        return Update(number)
    rows = Descriptions.joined([known[number][uid].row for uid in uids])
    names = lexicon.name_described(captioner.bridge, rows)
    return Update(number, names=dict(zip(uids, names, strict=True)))


def _put(lexicons: dict[Origin, Lexicon], origin: Origin, lexicon: Lexicon | None) -> None:
    """Keep a lexicon; there is none without examples."""
    if lexicon is None:
        lexicons.pop(origin, None)
    else:
        lexicons[origin] = lexicon


def without(lexicon: Lexicon, content: str, uids: Collection[str]) -> Lexicon | None:
    """Return a lexicon without some examples of an image; None where none are left."""
    kept = [e for e in lexicon.examples if not (e.content == content and e.uid in uids)]
    if len(kept) == len(lexicon.examples):
        return lexicon
    keys = {example.key for example in kept}
    return lexicon.kept(lambda example: example.key in keys) if kept else None


def renamed(lexicon: Lexicon, content: str, names: Mapping[str, str]) -> Lexicon:
    """Return a lexicon with other names for some examples of an image."""

    def name_of(example: Example) -> str:
        return names.get(example.uid, example.name) if example.content == content else example.name

    if all(name_of(example) == example.name for example in lexicon.examples):
        return lexicon
    examples = [replace(example, name=name_of(example)) for example in lexicon.examples]
    return Lexicon(lexicon.origin, examples, lexicon.described, lexicon.images)


def taught(
    captioner: Captioner,
    task: LearningTask,
    known: Mapping[str, Described],
    lexicon: Lexicon | None,
) -> Lexicon | None:
    """Return a lexicon with the examples of a task that are described; itself without any."""
    names = {uid: name for uid, name in task.wanted.items() if uid in known}
    if not names:
        return lexicon
    images = [] if lexicon is None else lexicon.images
    own = [image for image in images if image.content == task.content]
    if not own and task.picture is not None:
        regions = [target.outline for target in task.targets if target.uid in names]
        own = [_image(captioner, task.picture, task, regions[:1])]
    rows = Descriptions.joined([known[uid].row for uid in names])
    examples = [
        Example(name, own[0].name, uid, task.content, known[uid].thumbnail)
        for uid, name in names.items()
    ]
    more = Lexicon(Origin.of(captioner), examples, rows, own[:1])
    return lexicon.merged(more) if lexicon is not None else more


def _image(
    captioner: Captioner,
    picture: Picture,
    task: LearningTask,
    regions: Sequence[Callable[[], Region]],
) -> TaughtImage:
    """Return what lexicons know of an image besides its examples, seen as closely as those."""
    grid = whole = picture.grid
    if isinstance(whole, Overview):
        for outline in regions:
            grid = captioner.pyramid(whole.levels, store=whole.store).grid(outline())
    if grid is whole:
        around = picture.around(captioner)
    else:
        around = background(captioner, grid, picture.measures)
    return TaughtImage(task.image, task.content, around, grid.measures.get("photograph"))


def _described(
    captioner: Captioner, targets: Sequence[Target], progress: Progress, *, thumbnails: bool = False
) -> tuple[dict[str, Described], dict[str, str]]:
    """Describe regions; return those that could be, and why others could not."""
    described: dict[str, Described] = {}
    faults: dict[str, str] = {}
    groups: dict[int, list[tuple[Target, Region]]] = defaultdict(list)
    for target in targets:
        try:
            region = untangled(target.outline())
            check_example(region)
            if target.row is None:
                groups[id(target.picture)].append((target, region))
            else:
                small = target.picture.measures.thumbnail(region) if thumbnails else b""
                described[target.uid] = Described(target.stamp, target.row, small)
        except PatchionerError as error:
            faults[target.uid] = str(error)
    for members in groups.values():
        picture = members[0][0].picture
        pictured = picture.measures.thumbnail if thumbnails else _no_thumbnail

        def put(group: Sequence[tuple[Target, Region]], rows: Descriptions, of=pictured) -> None:  # type: ignore[no-untyped-def]
            for number, (target, region) in enumerate(group):
                described[target.uid] = Described(target.stamp, rows.take([number]), of(region))

        for group, grid in _with_grids(captioner, picture, members, faults, progress):
            regions = [region for _, region in group]
            try:
                put(group, describe(captioner, grid, picture.measures, regions))
            except PatchionerError:
                # One at fault does not keep the others from it.
                for target, region in group:
                    try:
                        rows = describe(captioner, grid, picture.measures, [region])
                        put([(target, region)], rows)
                    except PatchionerError as error:
                        faults[target.uid] = str(error)
    return described, faults


def _no_thumbnail(_region: Region) -> bytes:
    return b""


def _with_grids(
    captioner: Captioner,
    picture: Picture,
    members: Sequence[tuple[Target, Region]],
    faults: dict[str, str],
    progress: Progress,
) -> Iterator[tuple[list[tuple[Target, Region]], FeatureGrid]]:
    """Yield regions with the grid to see them in: of a large plane, as closely as they ask for."""
    grid = picture.grid
    if not isinstance(grid, Overview):
        yield list(members), grid
        return
    pyramid = captioner.pyramid(grid.levels, store=grid.store)
    sound = []
    for target, region in members:
        try:
            pyramid.plan(region)
            sound.append((target, region))
        except PatchionerError as error:
            faults[target.uid] = str(error)
    for plan, rows in pyramid.plans([region for _, region in sound]):
        group = [sound[row] for row in rows]
        try:
            yield group, pyramid.encode(plan, progress=progress)
        except ImageError as error:
            faults.update({target.uid: str(error) for target, _ in group})

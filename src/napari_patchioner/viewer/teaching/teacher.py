"""What is taught in a window: kept in step with all open images, which are named after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.annotations.project.records import TaughtName
from napari_patchioner.errors import Cancelled, FormatError, PatchionerError, counted
from napari_patchioner.grids import PHOTOGRAPH
from napari_patchioner.progress import Progress
from napari_patchioner.teaching import (
    Example,
    Lexicon,
    Naming,
    Origin,
    checked_name,
    read_lexicon,
    write_lexicon,
)
from napari_patchioner.viewer.layers.geometry import record_outline
from napari_patchioner.viewer.layers.image_layers import image_title
from napari_patchioner.viewer.session.session import EVERY
from napari_patchioner.viewer.widgets import brief, throttled
from napari_patchioner.viewer.workers.job import Job, error_message
from napari_patchioner.viewer.workers.teach import (
    Described,
    LearningTask,
    Picture,
    Stamp,
    Target,
    Update,
    digest_of,
    fit,
    is_fitted,
    learn,
    prepare,
)

from .store import Lexicons, LexiconStore, read_lexicons

if TYPE_CHECKING:
    from napari_patchioner.viewer.controller import Controller
    from napari_patchioner.viewer.project.project_file import ProjectFile

# Soon enough to seem at once; and long enough for a name to be typed to its end.
PACE_MS, TYPING_MS = 40, 700
# So much later it is in a file.
SAVE_MS = 300
# Regions of a plane that are described before anybody teaches.
MOST_AHEAD = 500
# Fields of what a project says of teaching.
LEXICON, JOINED = "lexicon", "joined"


# The plane that a record lies on, its picture, and what tells the record there from any other.
Place = tuple[Plane, Picture, Stamp]


@dataclass(eq=False)
class ImageState:
    """One open image: what of it is taught, and what is known of its regions."""

    controller: Controller
    project: ProjectFile
    pictures: dict[Plane, Picture] = field(default_factory=dict)
    described: dict[str, Described] = field(default_factory=dict)
    # Of what could not be described, where it lay then
    faults: dict[str, Stamp] = field(default_factory=dict)
    # Names of the examples that lexicons have, by uid, and the shapes that those were of
    learned: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, str] = field(default_factory=dict)
    names: dict[str, tuple[Stamp, str, Naming]] = field(default_factory=dict)
    # Where records are seen, which takes long to find out for thousands of them
    places: dict[str, tuple[Record, Place | None]] = field(default_factory=dict)
    # What has been shown to be labelled, and was left as it was.
    passed: set[str] = field(default_factory=set)
    # Whether what was saved of it has been taken over.
    restored: bool = False
    # How names are spelled that are written in several ways, by their letters in lower case.
    spelled: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def content(self) -> str:
        """What lexicons know the image by, whatever it is called and however it is displayed."""
        # Asked once: while the project is being written, the answer would have to wait for that.
        return self.project.content

    @property
    def facts(self) -> dict[str, Any]:
        """What its project says of teaching."""
        return self.controller.session.teaching

    def wanted(self) -> dict[str, str]:
        """Return what is taught on this image: names by uid, as they are spelled elsewhere."""
        named = self.called().items()
        return {uid: self.spelled.get(name.casefold(), name) for uid, name in named}

    def called(self) -> dict[str, str]:
        """Return the same names as people have spelled them."""
        every = bool(self.facts.get(EVERY))
        names = {}
        for uid, record in self.controller.session.records.items():
            if is_example(record, every):
                try:
                    names[uid] = checked_name(record.teaches)
                except FormatError:
                    continue
        return names

    def refresh(self) -> None:
        """Bring what was encoded up to date, and forget what was known of regions that are gone."""
        encoder, records = self.controller.encoder, self.controller.session.records
        before, self.pictures = self.pictures, {}
        for plane, grid in encoder.grids.items():
            known = before.get(plane)
            same = known is not None and known.grid is grid
            self.pictures[plane] = known if known and same else Picture(grid, encoder.sizes[plane])
        if list(self.pictures.values()) != list(before.values()):
            self.places.clear()
        for known_of in (self.described, self.faults, self.names, self.places):
            for uid in known_of.keys() - records.keys():
                del known_of[uid]

    def is_joined(self, choice: bool | None) -> bool:
        """Whether what the model says follows names here; without a choice, in photographs."""
        if choice is not None:
            return choice
        likely = [p.grid.measures.get("photograph", 0.0) for p in self.pictures.values()]
        return bool(likely) and sum(likely) / len(likely) >= PHOTOGRAPH

    def place(self, record: Record) -> Place | None:
        """Return where a record is seen, if its plane has been encoded."""
        known = self.places.get(record.uid)
        if known is None or known[0] is not record:
            known = self.places[record.uid] = record, self._place(record)
        return known[1]

    def _place(self, record: Record) -> Place | None:
        session = self.controller.session
        seen = self.controller.encoder.plane_and_grid(record, session)
        if seen is None or seen[0] not in self.pictures:
            return None
        return seen[0], self.pictures[seen[0]], (record.fingerprint, seen[1].key)

    def is_described(self, uid: str, stamp: Stamp, *, pictured: bool = False) -> bool:
        """Whether a region is described as it is now, ``pictured`` with a small picture, too."""
        known = self.described.get(uid)
        return known is not None and known.stamp == stamp and bool(known.thumbnail or not pictured)

    def target(self, record: Record, *, pictured: bool) -> Target | None:
        """Return what a worker needs to describe a record that is not described as it is now."""
        placed = self.place(record)
        if placed is None:
            return None
        plane, picture, stamp = placed
        is_known = self.is_described(record.uid, stamp, pictured=pictured)
        if is_known or self.faults.get(record.uid) == stamp:
            return None
        union = bool(self.controller.queue.options.get("union"))
        outline = record_outline(record, self.controller.session, plane.axes, union=union)
        is_described = self.is_described(record.uid, stamp)
        row = self.described[record.uid].row if is_described else None
        return Target(record.uid, stamp, picture, outline, row)


Tasks = Sequence[tuple[ImageState, LearningTask]]


def is_example(record: Record, every: bool) -> bool:
    """Whether a record teaches a name; ``every`` one does whose text a person vouches for."""
    return bool(record.teaches) and (every if record.example is None else record.example)


class Teacher(QObject):  # type: ignore[misc]
    """One lexicon for a window, learned from examples on its images, which it names at once.

    Which regions are examples the records themselves say, so that undo and project files take them
    along; their vectors and those of images that are not open are kept under the lexicon's id. For
    each backbone there is a lexicon of its own; that of another one waits until it is used again.
    """

    # The lexicon, or what is known of regions, is another one.
    changed = Signal()
    messaged = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.states: dict[Controller, ImageState] = {}
        self.lexicons: dict[Origin, Lexicon] = {}
        # Of the folder that was opened or saved last
        self.path: Path | None = None
        # How many examples are learned from only when their planes are read.
        self.unread = 0
        self.every = False
        # Whether what the model says follows the names; None for in photographs.
        self.joined: bool | None = None
        self._origins: dict[str, Origin] = {}
        self._had: set[Origin] = set()
        self._store, self._saved = LexiconStore(), dict[Origin, Lexicon]()
        self._ids: set[str] = set()
        self._job: Job | None = None
        self._loading: Job | None = None
        self._saving: Job | None = None
        self._ahead: Job | None = None
        self._files: set[Job] = set()
        self._generation = 0
        self._again = self._urgent = self._is_due = self._closed = False
        self._taught = ""
        # Sentences to say once all is learned, and spellings that were said
        self._notes: list[str] = []
        self._noted: set[str] = set()
        self._respelled: list[tuple[str, str]] = []
        self._pace = throttled(self._work, PACE_MS, self)
        self._typed = throttled(self._on_typed, TYPING_MS, self, rest=True)
        self._rest = throttled(self._save, SAVE_MS, self)

    # images

    def follow(self, controller: Controller, project: ProjectFile) -> None:
        """Learn from an image and name its regions from now on."""
        state = self.states[controller] = ImageState(controller, project)
        controller.session.joined = bool(self.joined)
        controller.session.changed.append(self.touch)
        controller.encoder.changed.connect(self.touch)
        project.changed.connect(self.touch)
        if state.project.searched:
            self.touch()

    def leave(self, controller: Controller) -> None:
        """Let go of an image; what was taught there stays."""
        if controller in self.states:
            del self.states[controller]
            if self.touch in controller.session.changed:
                controller.session.changed.remove(self.touch)
            controller.encoder.changed.disconnect(self.touch)

    def close(self) -> None:
        """Stop all work, and save what is not saved."""
        if self._closed:
            return
        self._closed = True
        for timer in (self._pace, self._typed, self._rest):
            timer.cancel()
        for controller in list(self.states):
            self.leave(controller)
        for job in (self._job, self._loading, self._ahead, *self._files):
            if job is not None:
                job.drop()
        self.flush()

    def touch(self, *_: object) -> None:
        """Look for something to learn or to name, soon."""
        if not self._closed:
            self._is_due = True
            self._pace.throttle()

    # what is known

    def origin_of(self, controller: Controller | None) -> Origin | None:
        """Return which lexicon an image is named by; None as long as nobody knows."""
        model = controller.encoder.model if controller is not None else ""
        return self._origins.get(model)

    def lexicon_of(self, controller: Controller | None) -> Lexicon | None:
        """Return the lexicon that an image is named by, the largest one before it is encoded."""
        origin = self.origin_of(controller)
        if origin is not None:
            return self.lexicons.get(origin)
        return max(self.lexicons.values(), key=len, default=None)

    def is_here(self, controller: Controller, example: Example) -> bool:
        """Whether an example is of this image, though its shape may have been deleted."""
        state = self.states.get(controller)
        return state is not None and state.restored and example.content == state.content

    def naming(self, controller: Controller, uid: str) -> Naming | None:
        """Return what the lexicon says of a region, named by it or not."""
        state = self.states.get(controller)
        known = state.names.get(uid) if state is not None else None
        return known[2] if known is not None else None

    def most_doubtful(self, controller: Controller, passed: Collection[str] = ()) -> str:
        """Return the region of an image that is most useful to label; empty where there is none.

        That is the one whose name is as likely right as wrong, then those nobody knows.
        """
        state = self.states.get(controller)
        if state is None:
            return ""
        records = controller.session.records
        open_ones = [
            r.uid for r in records.values() if not (r.protected or r.rejected or r.uid in passed)
        ]

        def doubt(uid: str) -> float:
            naming = self.naming(controller, uid)
            return 1.0 if naming is None else abs(naming.score - 0.5)

        return min(open_ones, key=doubt, default="")

    def is_every(self, controller: Controller | None) -> bool:
        """Whether every caption that a person vouches for is taught on an image."""
        state = self.states.get(controller) if controller is not None else None
        return bool(state.facts.get(EVERY)) if state is not None else self.every

    @property
    def active(self) -> bool:
        """Whether something is being learned or named, or will be before long."""
        return self._job is not None or self._loading is not None or self._is_due

    # what a person does

    def prepare(self, controller: Controller) -> None:
        """Get ready to learn from the plane at hand: somebody may be about to teach."""
        state, here = self.states.get(controller), controller.encoder.here()
        if state is None or here is None or self._ahead is not None:
            return
        state.refresh()
        records = controller.session.records.values()
        targets = (state.target(record, pictured=False) for record in records)
        picture = state.pictures[here[0]]
        ahead = [target for target in targets if target is not None and target.picture is picture]
        if not ahead and picture.prepared:
            return

        def ended(_error: Exception | None) -> None:
            self._ahead = None

        work = prepare, controller.encoder.registry, controller.encoder.model, picture
        delivered = state.described.update
        arguments = (*work, ahead[:MOST_AHEAD])
        self._ahead = Job.run(*arguments, delivered=delivered, ended=ended, parent=self)

    def teach(self, controller: Controller, uids: Sequence[str], name: str) -> None:
        """Make regions examples of a name; a FormatError where that is no name."""
        typed = checked_name(name)
        name = self._spelling(typed)
        if name != typed:
            self._notes.append(_respelled(typed, name))
        number = controller.session.teach(uids, name)
        self._taught = name
        self._now()
        controller.show()
        if controller.encoder.ready:
            self.messaged.emit(f"Learning {brief(name)!r} from {counted(number, 'region')}…")
        else:
            self.messaged.emit(
                f"{brief(name)!r} is taught with {counted(number, 'region')}; press Start, and "
                "regions alike get this name when the image has been read."
            )

    def teach_captions(self, controller: Controller, uids: Sequence[str]) -> None:
        """Let regions teach what a person has called each; a FormatError where nobody has."""
        records = controller.session.records
        called = [uid for uid in uids if uid in records and records[uid].vouched]
        if not called:
            raise FormatError("type a name first, then press Teach")
        controller.session.mark_examples(called, True)
        self._taught = self._spelling(checked_name(records[called[0]].caption))
        self._now()
        controller.show()

    def next_doubtful(self, controller: Controller) -> str:
        """Return what to label next: not what was passed on the way, as long as there is more."""
        state = self.states.get(controller)
        if state is None:
            return ""
        uid = self.most_doubtful(controller, state.passed)
        if not uid and state.passed:
            state.passed.clear()
            uid = self.most_doubtful(controller)
        state.passed.add(uid)
        return uid

    def set_every(self, on: bool) -> None:
        """Let every caption that a person vouches for be an example, on all open images."""
        self.every = on
        for state in self.states.values():
            if state.facts.get(EVERY, False) != on:
                state.facts[EVERY] = on
                state.controller.session.notify()
        self._now()

    def set_joined(self, choice: bool | None) -> None:
        """Let what the model says follow the names, or not, or only in photographs."""
        self.joined = choice
        for state in self.states.values():
            state.controller.session.joined = state.is_joined(choice)
            if state.facts.get(JOINED) != choice:
                state.facts[JOINED] = choice
                state.controller.session.notify()
            self._show_names(state, list(state.names))
        self.changed.emit()

    def rename(self, old: str, new: str) -> None:
        """Give a name of the lexicon another wording; that of another name joins both."""
        new = checked_name(new)
        if new == old:
            return
        for state in self._restored():
            uids = [uid for uid, name in state.wanted().items() if name == old]
            state.learned |= {uid: new for uid, name in state.learned.items() if name == old}
            state.controller.session.retitle(uids, old, new)
            state.controller.show()
        self._change(lambda lexicon: lexicon.renamed(old, new))

    def forget_name(self, name: str) -> None:
        """Forget a name with all its examples; texts that people wrote stay."""
        examples = (e for lexicon in self.lexicons.values() for e in lexicon.examples)
        keys = {(example.content, example.uid) for example in examples if example.name == name}
        for state in self._restored():
            own = state.wanted().items()
            self._unmark(state, [u for u, n in own if n == name or (state.content, u) in keys])
        self._change(lambda lexicon: _kept(lexicon, lambda example: example.name != name))

    def forget(self, examples: Iterable[Example]) -> None:
        """Forget examples; texts that people wrote stay."""
        keys = {(example.content, example.uid) for example in examples}
        for state in self._restored():
            own = [uid for uid in state.wanted() if (state.content, uid) in keys]
            self._unmark(state, own)
        self._change(lambda lexicon: _kept(lexicon, lambda e: (e.content, e.uid) not in keys))

    def clear(self) -> None:
        """Forget everything, and begin a lexicon anew."""
        self.set_every(False)
        for state in self.states.values():
            self._unmark(state, list(state.wanted()))
        self._change(lambda lexicon: None)
        self.path = None

    def open(self, path: Path, model: str) -> None:
        """Add the names of a lexicon folder to those in use; one of another backbone is refused."""
        registry = next((p.controller.encoder.registry for p in self.states.values()), None)

        def read(progress: Progress) -> Lexicon:
            progress(0.0, "opening the lexicon")
            lexicon = read_lexicon(path)
            if registry is not None and model:
                with registry.using(model, progress) as captioner:
                    lexicon.check(captioner)
            fit(lexicon)
            return lexicon

        def delivered(lexicon: Lexicon) -> None:
            self.path = path
            other = [(name, self._spelling(name)) for name in lexicon.counts]
            respelled = [(name, known) for name, known in other if name != known]
            for name, known in respelled:
                lexicon = lexicon.renamed(name, known)
            self._add({lexicon.origin: lexicon})
            number = counted(lexicon.counts, "name")
            opened = f"{path.name}: {number} from {_examples(lexicon)}."
            self.messaged.emit(" ".join([opened, *(_respelled(*pair) for pair in respelled)]))

        self._file(read, delivered, "nothing was opened")

    def save(self, path: Path, lexicon: Lexicon) -> None:
        """Write a lexicon as a folder to share."""

        def write(progress: Progress) -> Path:
            progress(0.0, "saving the lexicon")
            write_lexicon(path, lexicon)
            return path

        def delivered(_path: Path) -> None:
            self.path = path
            self.changed.emit()
            self.messaged.emit(f"Saved {path.name}: {_examples(lexicon)}.")

        self._file(write, delivered, "nothing was saved")

    # keeping it

    def flush(self) -> bool:
        """Save now what is not saved, and wait for it; return whether all is saved."""
        if self._saving is not None:
            self._saving.wait()
        if self._is_saved():
            return True
        try:
            self._store.write(self.lexicons, _silent)
        except PatchionerError as error:
            self.messaged.emit(f"What was taught is not saved: {error}")
            return False
        self._saved = dict(self.lexicons)
        return True

    def _is_saved(self) -> bool:
        same = self._saved.keys() == self.lexicons.keys()
        return same and all(self._saved[o] is lexicon for o, lexicon in self.lexicons.items())

    def _save(self) -> None:
        if self._loading is not None:
            self._rest.throttle()
            return
        if self._saving is not None or self._is_saved() or self._closed:
            return
        lexicons = dict(self.lexicons)

        def write(progress: Progress) -> str:
            return self._store.write(lexicons, progress)

        def delivered(_name: str) -> None:
            self._saved = lexicons
            self._note_id()

        def ended(error: Exception | None) -> None:
            self._saving = None
            if error is not None and not isinstance(error, Cancelled):
                reason = error_message(error, "the disk refused it")
                self.messaged.emit(f"What was taught is not saved: {reason}")
            elif not self._is_saved():
                self._rest.throttle()

        self._saving = Job.run(write, delivered=delivered, ended=ended, parent=self)

    def _note_id(self) -> None:
        """Have the projects of all open images name the lexicon."""
        self._ids.add(self._store.id)
        name = self._store.id if self.lexicons else None
        for state in self.states.values():
            if state.restored and state.facts.get(LEXICON) != name:
                if name is None:
                    state.facts.pop(LEXICON, None)
                else:
                    state.facts[LEXICON] = name
                state.controller.session.notify()

    def _load(self, name: str) -> None:
        """Read the lexicon that a project names, and add it to what there is."""
        self._ids.add(name)
        fresh = not self.lexicons

        def read(progress: Progress) -> Lexicons:
            progress(0.0, "reading what was taught")
            lexicons = self._store.take(name) if fresh else read_lexicons(name)
            for lexicon in lexicons.values():
                fit(lexicon)
            return lexicons

        def delivered(lexicons: Lexicons) -> None:
            if fresh and not self.lexicons:
                self._saved = dict(lexicons)
            self._add(lexicons)
            if not lexicons:
                self.messaged.emit(
                    "What was taught with this image is not on this computer; its own examples "
                    "are learned anew when it is read, others need their lexicon opened."
                )

        def ended(error: Exception | None) -> None:
            self._loading = None
            if error is not None and not isinstance(error, Cancelled):
                reason = error_message(error, "it cannot be read")
                self.messaged.emit(f"What was taught with this image is not in use: {reason}")
            self.touch()

        self._loading = Job.run(read, delivered=delivered, ended=ended, parent=self)

    def _add(self, lexicons: Lexicons) -> None:
        """Add examples to those in use; of an example in both, the name in use counts."""
        for origin, lexicon in lexicons.items():
            mine = self.lexicons.get(origin)
            self.lexicons[origin] = lexicon if mine is None else lexicon.merged(mine)
        self._had |= self.lexicons.keys()
        self._generation += 1
        self._now()
        self._rest.throttle()
        self._note_id()
        self.changed.emit()

    # learning

    def _now(self) -> None:
        """Learn without waiting: a person has asked for it."""
        self._urgent = True
        self._pace.cancel()
        self._work()

    def _on_typed(self) -> None:
        self._urgent = True
        self.touch()

    def _restore(self, state: ImageState) -> bool:
        """Take over what is saved of an image; whether that is done."""
        if not state.project.searched:
            return False
        try:
            # Its pixels may have turned out to be unreadable.
            _ = state.content
        except (OSError, ValueError, RuntimeError):
            return False
        named = state.facts.get(LEXICON)
        if isinstance(named, str) and named not in self._ids:
            if self._loading is None:
                self._load(named)
            return False
        if not state.restored:
            if self._loading is not None:
                return False
            state.restored = True
            # How it was set here last holds for images that say nothing of it.
            if self.every and EVERY not in state.facts:
                state.facts[EVERY] = True
            saved = state.facts.get(JOINED)
            choice = saved if self.joined is None and isinstance(saved, bool) else self.joined
            if choice is not None:
                self.set_joined(choice)
            # What lexicons call these stays, however it was renamed when this image was closed.
            kept = {
                example.uid
                for lexicon in self.lexicons.values()
                for example in lexicon.examples
                if example.content == state.content
            }
            records = state.controller.session.records
            state.learned = {uid: name for uid, name in state.wanted().items() if uid in kept}
            state.shapes = {uid: records[uid].fingerprint for uid in state.learned}
            if self.lexicons:
                self._note_id()
        return True

    def _sync(self) -> list[tuple[ImageState, LearningTask]]:
        """Compare what the lexicons hold with what is taught on the open images."""
        tasks = []
        self.unread = 0
        restored = [state for state in self.states.values() if self._restore(state)]
        self._spell(restored)
        for state in self.states.values():
            if state in restored:
                state.refresh()
                state.controller.session.joined = state.is_joined(self.joined)
                tasks.append((state, self._lesson(state)))
        return tasks

    def _spelling(self, name: str) -> str:
        """Return a name as it is taught already, if that differs only in capitals."""
        known = {n for lexicon in self.lexicons.values() for n in lexicon.counts}
        known.update(*(state.wanted().values() for state in self.states.values()))
        alike = (other for other in sorted(known) if other.casefold() == name.casefold())
        return name if name in known else next(alike, name)

    def _spell(self, states: Sequence[ImageState]) -> None:
        """Find out how names are spelled that people have written in several ways."""
        called = {state: state.called() for state in states}
        is_open = {(state.content, uid) for state in states for uid in called[state]}
        written = Counter(name for names in called.values() for name in names.values())
        for lexicon in self.lexicons.values():
            closed = (e for e in lexicon.examples if (e.content, e.uid) not in is_open)
            written.update(example.name for example in closed)
        taught = {name for lexicon in self.lexicons.values() for name in lexicon.counts}
        spelled: dict[str, str] = {}
        for name in sorted(written, key=lambda name: (name in taught, written[name], name)):
            spelled[name.casefold()] = name
        for state in states:
            state.spelled = spelled
        pairs = [(name, spelled[name.casefold()]) for name in sorted(written)]
        self._respelled = [(name, known) for name, known in pairs if name != known]

    def _lesson(self, state: ImageState) -> LearningTask:
        """Return what is to be learned from an image, and what of it is to be named."""
        controller, content = state.controller, state.content
        records, wanted = controller.session.records, state.wanted()
        controller.session.awaited.clear()
        if not (self.lexicons or wanted or state.learned):
            # Nobody has taught anything: nothing is to be found out of thousands of regions.
            return LearningTask("", image_title(controller.image), content)
        origin = self.origin_of(controller)
        lexicon = self.lexicons.get(origin) if origin is not None else None
        held = {e.uid for e in lexicon.examples if e.content == content} if lexicon else set()
        # Before it is known which lexicon is in use, those count that any of them has.
        held = held if origin is not None else set(state.learned)
        dropped = {uid for uid in state.learned if uid in records and uid not in wanted}
        shapes = state.shapes.items()
        moved = {u for u, shape in shapes if u in wanted and records[u].fingerprint != shape}
        renamed = {u: n for u, n in wanted.items() if u in state.learned and state.learned[u] != n}
        missing = {u: name for u, name in wanted.items() if u in moved or u not in held}
        digest = digest_of(lexicon)
        targets, ready, open_ones, stale = [], {}, [], set()
        for uid, record in records.items():
            is_open = not (record.protected or record.rejected)
            placed = state.place(record) if uid in missing or is_open else None
            if placed is None:
                if uid in missing:
                    controller.session.awaited.add(uid)
                continue
            stamp = placed[2]
            target = state.target(record, pictured=uid in missing)
            if target is None and not state.is_described(uid, stamp):
                continue
            if target is not None and (uid in missing or self.lexicons or missing):
                targets.append(target)
            if uid in missing:
                ready[uid] = missing[uid]
            elif lexicon is not None or origin is None or missing:
                open_ones.append(uid)
                if state.names.get(uid, ("", "", None))[:2] != (stamp, digest):
                    stale.add(uid)
        self.unread += len(controller.session.awaited)
        if controller.session.awaited and controller.encoder.is_needed(controller.session):
            controller.settle()
        here = controller.encoder.here()
        picture = state.pictures.get(here[0]) if here is not None else None
        return LearningTask(
            controller.encoder.model if state.pictures else "",
            image_title(controller.image),
            content,
            tuple(targets),
            dict(state.described),
            ready,
            renamed,
            frozenset(dropped | moved),
            tuple(open_ones),
            frozenset(stale),
            picture or next(iter(state.pictures.values()), None),
        )

    def _work(self) -> None:
        """Send what there is to learn and to name to a worker, unless it is at work."""
        if self._closed:
            return
        self._is_due = False
        if self._job is not None:
            self._again = True
            return
        tasks = self._sync()
        has_changes = any(task.changes_lexicons for _, task in tasks)
        # A name that is being typed is not learned letter by letter.
        if not self._urgent and any(_is_typed(state, task) for state, task in tasks):
            self._is_due = True
            self._typed.throttle()
            return
        self._urgent = False
        for name, known in self._respelled:
            if name not in self._noted:
                self._noted.add(name)
                self._notes.append(_respelled(name, known))
        models = {task.model for _, task in tasks if task.model}
        named = models - self._origins.keys() or any(task.stale for _, task in tasks)
        unfitted = not all(map(is_fitted, self.lexicons.values()))
        if not (has_changes or (self.lexicons and named) or unfitted):
            self._unname(tasks)
            self._report()
            return
        if has_changes:
            self._generation += 1
            # What came of a correction is said as well, and not of what was taught before it.
            corrected = {name for state, task in tasks for name in _corrected(state, task)}
            if corrected and self._taught not in corrected:
                self._taught = min(corrected) if len(corrected) == 1 else ""
        delivered = partial(self._on_update, tasks, self._generation)
        registry = self._registry()
        work = (learn, registry, dict(self.lexicons), [task for _, task in tasks])
        self._job = Job.run(*work, delivered=delivered, ended=self._on_ended, parent=self)

    def _registry(self) -> Any:
        return next((p.controller.encoder.registry for p in self.states.values()), None)

    def _on_update(self, tasks: Tasks, generation: int, update: Update) -> None:
        """Take over a part of what a worker has found out, as far as it is still of use."""
        for model, origin in update.origins.items():
            if model not in self._origins:
                self._origins[model] = origin
                self._on_model(model, origin)
        if update.task >= 0:
            state, task = tasks[update.task]
            stamps = {target.uid: target.stamp for target in task.targets}
            state.described |= update.described
            state.faults |= {uid: stamps[uid] for uid in update.faults if uid in stamps}
            for uid in update.faults.keys() & task.wanted.keys():
                self._notes.append(f"A region could not be learned: {update.faults[uid]}.")
        if generation != self._generation:
            self._again = True
            return
        if update.lexicons is not None:
            self._on_lexicons(tasks, update.lexicons)
        if update.names:
            state, task = tasks[update.task]
            self._on_names(state, update.names)

    def _on_lexicons(self, tasks: Tasks, lexicons: Mapping[Origin, Lexicon]) -> None:
        """Take over what was learned."""
        for state, task in tasks:
            records = state.controller.session.records
            for uid in task.dropped:
                state.learned.pop(uid, None)
                state.shapes.pop(uid, None)
            state.learned |= {u: n for u, n in task.renamed.items() if u in state.learned}
            stamps = {target.uid: target.stamp[0] for target in task.targets}
            for uid, name in task.wanted.items():
                if uid in state.described and uid in records:
                    state.learned[uid] = name
                    state.shapes[uid] = stamps.get(uid, state.described[uid].stamp[0])
        changed = dict(lexicons) != self.lexicons
        self.lexicons = dict(lexicons)
        self._had |= self.lexicons.keys()
        if changed:
            # Regions that were named before may be like something else now.
            self._again = True
            self._rest.throttle()
            self._note_id()
        self._unname(tasks)
        self.changed.emit()

    def _on_model(self, model: str, origin: Origin) -> None:
        """Say so where what was taught does not fit the model; it waits for its own."""
        self._again = True
        if not self.lexicons or origin in self.lexicons:
            return
        other = max(self.lexicons.values(), key=len)
        own = sum(len(state.wanted()) for state in self.states.values())
        anew = f"{counted(own, 'example')} of the open images are learned anew" if own else ""
        self.messaged.emit(
            f"What was taught with {other.origin.backbone} does not fit {model}: "
            f"{anew or 'nothing is named'}, and it all waits until that model is used again."
        )

    def _unname(self, tasks: Tasks) -> None:
        """Take names away where the lexicon that gave them is empty now."""
        for state, _ in tasks:
            origin = self.origin_of(state.controller)
            is_empty = origin in self._had and origin not in self.lexicons
            if not is_empty or self.states.get(state.controller) is not state:
                continue
            state.names.clear()
            records = state.controller.session.records.values()
            named = [record.uid for record in records if record.source == "taught"]
            if state.controller.session.name(dict.fromkeys(named), ""):
                state.controller.show()

    def _on_names(self, state: ImageState, names: Mapping[str, Naming]) -> None:
        """Give regions their names, unless they have changed meanwhile."""
        lexicon = self.lexicon_of(state.controller)
        if lexicon is None or self.states.get(state.controller) is not state:
            return
        for uid, naming in names.items():
            if uid in state.described:
                stamp = state.described[uid].stamp
                state.names[uid] = (stamp, digest_of(lexicon), naming)
        self._show_names(state, list(names))
        self.changed.emit()

    def _show_names(self, state: ImageState, uids: Iterable[str]) -> None:
        """Write what the lexicon says of regions into their records."""
        controller, lexicon = state.controller, self.lexicon_of(state.controller)
        if lexicon is None:
            return
        names: dict[str, TaughtName | None] = {}
        for uid in uids:
            record, known = controller.session.records.get(uid), state.names.get(uid)
            placed = state.place(record) if record is not None else None
            if known is None or placed is None or known[0] != placed[2]:
                continue
            naming = known[2]
            names[uid] = None
            if naming.name is not None:
                number = lexicon.counts[naming.name]
                names[uid] = TaughtName(naming.name, naming.score, number, digest_of(lexicon))
        if controller.session.name(names, controller.encoder.model):
            controller.show()

    def _on_ended(self, error: Exception | None) -> None:
        self._job = None
        again, self._again = self._again, False
        if error is not None and not isinstance(error, Cancelled):
            self._taught = ""
            self._notes.clear()
            self.messaged.emit(error_message(error, "nothing could be learned"))
        elif again:
            self._urgent = True
            self.touch()
        else:
            self._report()
        self.changed.emit()

    def _report(self) -> None:
        """Say what came of teaching, and what was noted on the way."""
        outcome = self._outcome() if self._taught else ""
        sentences = [outcome, *dict.fromkeys(self._notes)]
        if outcome or not self.unread:
            self._taught = ""
        self._notes.clear()
        if any(sentences):
            self.messaged.emit(" ".join(filter(None, sentences)))

    def _outcome(self) -> str:
        """Return in a sentence what came of teaching; empty where nothing was learned."""
        name, number, regions = self._taught, 0, 0
        for state in self.states.values():
            lexicon = self.lexicon_of(state.controller)
            number = max(number, lexicon.counts.get(name, 0) if lexicon is not None else 0)
            for record in state.controller.session.records.values():
                taught = record.taught_name
                regions += taught is not None and taught.name == name
        if not number:
            return ""
        alike = f"{counted(regions, 'other region')} {'is' if regions == 1 else 'are'}"
        learned = f"Learned {brief(name)!r} from {counted(number, 'example')}"
        return f"{learned}; {alike if regions else 'no other region is'} like it."

    # changes to what there is

    def _restored(self) -> list[ImageState]:
        """Return the open images whose saved work is there."""
        return [state for state in self.states.values() if state.restored]

    def _unmark(self, state: ImageState, uids: Sequence[str]) -> None:
        """Let regions of an image be no examples any more, as a step of a person's."""
        if uids:
            state.controller.session.mark_examples(uids, False)
            for uid in uids:
                state.learned.pop(uid, None)
                state.shapes.pop(uid, None)
            state.controller.show()

    def _change(self, change: Callable[[Lexicon], Lexicon | None]) -> None:
        """Change all lexicons at once."""
        changed = {origin: change(lexicon) for origin, lexicon in self.lexicons.items()}
        self.lexicons = {o: lexicon for o, lexicon in changed.items() if lexicon is not None}
        self._note_id()
        self._generation += 1
        self._rest.throttle()
        self._now()
        self.changed.emit()

    def _file(
        self, function: Callable[[Progress], Any], delivered: Callable[[Any], None], failure: str
    ) -> None:
        """Read or write a folder in a thread; say so in one sentence where that fails."""

        def ended(error: Exception | None) -> None:
            self._files.discard(job)
            if error is not None and not isinstance(error, Cancelled):
                reason = error_message(error, "it cannot be read or written")
                self.messaged.emit(f"{failure[:1].upper()}{failure[1:]}: {reason}")

        job = Job(function, parent=self)
        job.delivered.connect(delivered)
        job.ended.connect(ended)
        self._files.add(job)
        job.start()


def _is_typed(state: ImageState, task: LearningTask) -> bool:
    """Whether what is to be learned may be a text that somebody is in the middle of typing."""
    records = state.controller.session.records
    emptied = any(not records[uid].caption for uid in task.dropped if uid in records)
    return bool(task.renamed or emptied or (task.wanted and state.facts.get(EVERY)))


def _corrected(state: ImageState, task: LearningTask) -> set[str]:
    """Return the names that regions have got from captions that somebody wrote."""
    return {*task.wanted.values(), *task.renamed.values()} if _is_typed(state, task) else set()


def _kept(lexicon: Lexicon, keeps: Callable[[Example], bool]) -> Lexicon | None:
    """Return a lexicon with some of its examples; None where none are left."""
    return lexicon.kept(keeps) if any(map(keeps, lexicon.examples)) else None


def _examples(lexicon: Lexicon) -> str:
    """Return how many examples there are, and of how many images."""
    return f"{counted(len(lexicon), 'example')} on {counted(lexicon.images, 'image')}"


def _respelled(name: str, known: str) -> str:
    """Say that a name is spelled as it is taught already."""
    names = f"{brief(name)!r} is taught as {brief(known)!r}"
    return f"{names}; rename that under Taught to spell it otherwise."


def _silent(_fraction: float, _message: str) -> None:
    """Tell nobody."""

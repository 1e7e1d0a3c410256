from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.plugins import _initialize_plugins
from PIL import Image

from napari_patchioner.annotations import Plane, read_project
from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.project import autosave

BOX = np.array([[10.25, 10.5], [10.25, 50.5], [40.75, 50.5], [40.75, 10.5]])
SHAPES = [
    ("rectangle", BOX),
    ("ellipse", BOX + 3),
    ("polygon", np.array([[5.1, 70.2], [60.3, 75.4], [44.4, 99.9]])),
]
TRACE = np.array([[80.0, 20.0], [81.5, 30.25], [90.125, 45.0], [80.0, 20.0]])


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(autosave, "REST_MS", 20)
    return tmp_path / "home"


@pytest.fixture
def image_file(tmp_path, picture):
    path = tmp_path / "pictures" / "stripes.png"
    path.parent.mkdir()
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def opened(registry, qtbot):
    """Open an image as the dock does; what was opened is closed at the end."""
    from napari_patchioner.viewer.controller import Controller
    from napari_patchioner.viewer.project.project_file import ProjectFile

    _initialize_plugins()  # as a window does, for the readers
    all_opened = []

    def open_image(data, viewer=None, path=None, **facts):
        viewer = viewer or ViewerModel()
        image = viewer.add_image(data, **facts) if path is None else viewer.open(path)[0]
        controller = Controller(viewer, image, registry)
        controller.sentences = []
        project_file = ProjectFile(controller)
        project_file.messaged.connect(controller.sentences.append)
        all_opened.append((controller, project_file))
        qtbot.waitUntil(lambda: project_file.searched, timeout=10000)
        return controller, project_file

    yield open_image
    for controller, project_file in all_opened:
        project_file.close()
        controller.close()


def work_on(controller):
    """Draw, write, accept, lock and group; return what was made of it."""
    session = controller.session
    for kind, vertices in SHAPES:
        controller.layer("regions").add([vertices], shape_type=[kind])
    controller.layer("traces").add([TRACE], shape_type=["path"])
    one, two, three = session.uids("regions")
    [trace] = session.uids("traces")
    answer = Caption(
        "something red", 0.8125, alternatives=("a red thing",), concepts=(("red", 1.0),)
    )
    [request] = [r for r in session.take(lambda _: True) if r.uid == one]
    session.deliver(request, answer, "colours", {"grid": "abc"})
    session.edit(two, "written by me")
    session.edit(trace, "a trace")
    session.accept([one])
    session.lock([three], True)
    group = session.group([one, two])
    session.edit(group.uid, "two of them")
    session.edit(session.whole(Plane()).uid, "stripes")
    controller.show()
    return session


FIELDS = "subject fingerprint caption score source model details problem layer members plane wanted reviewed locked rejected origin extra"  # noqa: E501


def described(session):
    """Everything the session knows, and the order of the shapes."""
    records = {
        uid: [repr(getattr(record, name)) for name in FIELDS.split()]
        for uid, record in session.records.items()
    }
    return records, session.uids("regions"), session.uids("traces")


@pytest.mark.every_qt
def test_everything_is_as_it_was(opened, image_file, picture, qtbot):
    first, project_file = opened(None, path=image_file)
    before = described(work_on(first))
    qtbot.waitUntil(lambda: project_file.path is not None, timeout=5000)
    assert project_file.close()
    assert project_file.path == image_file.with_name("stripes.png.patchioner.json")
    assert project_file.state == "Saved in stripes.png.patchioner.json"

    again, project_file = opened(None, path=image_file)
    assert described(again.session) == before
    assert "Restored 4 regions and 5 captions" in again.sentences[0]
    layer = again.layer("regions")
    assert layer.shape_type == ["rectangle", "ellipse", "polygon"]
    for (_, vertices), there in zip(SHAPES, layer.data, strict=True):
        np.testing.assert_array_equal(there, vertices.astype(np.float32))
    assert list(layer.features["caption"]) == ["something red", "written by me", ""]
    assert list(layer.features["reviewed"]) == [True, False, False]
    assert project_file.path == image_file.with_name("stripes.png.patchioner.json")


def test_restoring_asks_no_model_is_no_step_and_writes_nothing(
    opened, image_file, qtbot, monkeypatch
):
    first, project_file = opened(None, path=image_file)
    work_on(first)
    assert project_file.close()
    saved = project_file.path.read_bytes()
    # What takes longer than this is saved in between: so does everything on a busy machine.
    monkeypatch.setattr(autosave, "LATEST_MS", 0)
    monkeypatch.setattr(autosave, "SOONEST_MS", 0)
    again, project_file = opened(None, path=image_file)
    qtbot.wait(200)
    session = again.session
    assert session.take(lambda _: True) == []
    assert session.undo() == ""
    assert len(session.uids("regions")) == 3
    assert project_file.close()
    assert project_file.path.read_bytes() == saved


def test_work_goes_on_after_restoring(opened, image_file, qtbot):
    first, project_file = opened(None, path=image_file)
    work_on(first)
    assert project_file.close()
    again, project_file = opened(None, path=image_file)
    again.edit(again.session.uids("regions")[0], "better words")
    again.layer("regions").add([BOX + 20], shape_type=["rectangle"])
    assert project_file.close()
    project = read_project(project_file.path)
    captions = [record.caption for record in project.records]
    assert "better words" in captions
    assert "two of them" in captions
    assert sum(record.subject == "shape" for record in project.records) == 5


def test_a_moved_and_renamed_image_gets_its_work_back(opened, image_file, tmp_path):
    first, project_file = opened(None, path=image_file)
    before = described(work_on(first))
    assert project_file.close()
    moved = image_file.rename(tmp_path / "renamed.png")
    again, project_file = opened(None, path=moved)
    assert not again.session.records, "what lay elsewhere is asked about first"
    assert [copy.image_exists for copy in project_file.copies] == [False]
    project_file.take_over()
    assert described(again.session) == before
    assert project_file.copies == ()
    assert project_file.close()
    again.edit(again.session.uids("regions")[0], "better words")
    assert project_file.save()
    assert project_file.path == tmp_path / "renamed.png.patchioner.json"


def test_a_copy_is_asked_about_in_the_dock_and_never_written_into(dock, viewer, image_file, qtbot):
    """The same file in two folders, and a third time while somebody draws already."""
    project_file, projects = None, dock.projects

    def use(path):
        nonlocal project_file
        viewer.open(path)
        project_file = dock.projects.files[dock.controller]
        qtbot.waitUntil(lambda: project_file.searched, timeout=10000)
        return dock.controller

    first = work_on(use(image_file))
    assert project_file.save()
    saved = project_file.path.read_bytes()
    copies = [image_file.parent.parent / name / "stripes.png" for name in ("two", "three", "four")]
    for copy in copies:
        copy.parent.mkdir()
        copy.write_bytes(image_file.read_bytes())

    controller = use(copies[0])
    assert not controller.session.records
    assert projects.offer.isVisible()
    assert str(image_file) in projects.question.text()
    assert "5 captions" in projects.question.text()
    projects.accept.click()
    assert described(controller.session) == described(first)
    assert not projects.offer.isVisible()
    assert project_file.save()
    assert project_file.path == copies[0].with_name("stripes.png.patchioner.json")

    controller = use(copies[1])
    projects.refuse.click()
    assert not projects.offer.isVisible()
    assert not controller.session.records
    controller.layer("regions").add([BOX], shape_type=["rectangle"])
    assert project_file.save()
    assert project_file.path.parent == copies[1].parent
    assert len(read_project(project_file.path).records) == 1

    controller = use(copies[2])
    controller.layer("regions").add([BOX], shape_type=["rectangle"])
    projects.accept.click()
    assert project_file.save()
    assert len(read_project(project_file.path).records) > 1
    assert image_file.with_name("stripes.png.patchioner.json").read_bytes() == saved


def test_an_image_that_is_no_file_gets_its_work_back(opened, picture, home):
    first, project_file = opened(picture, name="screenshot")
    before = described(work_on(first))
    assert project_file.close()
    assert project_file.path.parent == home / "projects"
    again, _ = opened(picture.copy(), name="screenshot")
    assert described(again.session) == before
    other, asked = opened(picture.copy(), name="another name")
    assert not other.session.records
    assert [copy.image_name for copy in asked.copies] == ["screenshot"]


def test_shapes_follow_an_image_that_lies_elsewhere(opened, picture):
    first, project_file = opened(picture, scale=(2, 3), translate=(10, -5))
    work_on(first)
    assert project_file.close()
    again, _ = opened(picture, scale=(0.5, 0.5), rotate=30)
    seen = [again.session.records[uid].seen for uid in again.session.uids("regions")]
    for (_, vertices), one in zip(SHAPES, seen, strict=True):
        np.testing.assert_allclose(one.vertices, vertices, atol=1e-9)


def test_shapes_follow_onto_a_layer_that_lies_elsewhere(opened, picture):
    from napari.layers import Shapes

    first, project_file = opened(picture, name="other", scale=(2, 3))
    work_on(first)
    assert project_file.close()
    again, project_file = opened(picture, name="other")
    session = again.session
    for key in list(again.bindings):
        again.viewer.layers.remove(again.bindings[key].layer)
    again.viewer.add_layer(Shapes(ndim=2, name="regions [other]", scale=(4, 4), translate=(7, 7)))
    session.records.clear()
    again.adopt()
    project_file.open(project_file.path)
    seen = [session.records[uid].seen for uid in session.uids("regions")]
    for (_, vertices), one in zip(SHAPES, seen, strict=True):
        np.testing.assert_allclose(one.vertices, vertices, atol=1e-9)


def test_planes_of_a_stack_come_back(opened):
    stack = np.random.default_rng(0).integers(0, 255, (3, 60, 80), np.uint8)
    first, project_file = opened(stack)
    corners = np.insert(BOX, 0, 2, axis=1)
    first.layer("regions").add([corners], shape_type=["rectangle"])
    first.session.edit(first.session.whole(Plane((1, 2), (1,))).uid, "the second plane")
    assert project_file.close()
    again, _ = opened(stack)
    np.testing.assert_array_equal(again.layer("regions").data[0], corners)
    assert again.session.find_whole(Plane((1, 2), (1,))).caption == "the second plane"


def test_other_peoples_columns_come_back(opened, picture):
    first, project_file = opened(picture)
    layer = first.layer("regions")
    layer.add([BOX, BOX + 5], shape_type="rectangle")
    layer.features = layer.features.assign(area=[1.5, np.nan], grade=["good", None])
    assert project_file.close()
    again, _ = opened(picture)
    features = again.layer("regions").features
    assert features["area"].iloc[0] == 1.5
    assert np.isnan(features["area"].iloc[1])
    assert features["grade"].iloc[0] == "good"
    assert features["grade"].isna().iloc[1]


def test_what_is_drawn_already_is_not_overwritten(opened, picture, qtbot):
    first, project_file = opened(picture, name="again")
    work_on(first)
    assert project_file.close()
    saved = project_file.path.read_bytes()
    viewer = first.viewer
    viewer.layers.clear()
    image = viewer.add_image(picture, name="again")
    viewer.add_shapes([BOX], shape_type="rectangle", name="regions [again]")
    from napari_patchioner.viewer.controller import Controller
    from napari_patchioner.viewer.project.project_file import ProjectFile

    controller = Controller(viewer, image, first.encoder.registry)
    told = []
    other = ProjectFile(controller)
    other.messaged.connect(told.append)
    qtbot.waitUntil(lambda: other.searched, timeout=5000)
    assert len(controller.session.uids("regions")) == 1
    assert "Open project" in told[0]
    assert other.close()
    controller.close()
    assert other.path.name.endswith(".2.patchioner.json")
    assert project_file.path.read_bytes() == saved


def test_changed_pixels_are_told_and_their_project_opened_only_on_demand(
    opened, image_file, picture
):
    first, project_file = opened(None, path=image_file)
    work_on(first)
    assert project_file.close()
    old, saved = project_file.path, project_file.path.read_bytes()
    Image.fromarray(255 - picture).save(image_file)
    again, project_file = opened(None, path=image_file)
    assert not again.session.records
    assert "other pixels" in again.sentences[0]
    project_file.open(old)
    assert len(again.session.uids("regions")) == 3
    assert project_file.close()
    assert project_file.path != old
    assert old.read_bytes() == saved


def test_layers_that_go_with_their_image_take_nothing_along(opened, picture):
    first, project_file = opened(picture)
    before = described(work_on(first))
    first.viewer.layers.clear()
    assert project_file.close()
    again, _ = opened(picture)
    assert described(again.session) == before


def test_deleted_shapes_stay_deleted(opened, picture):
    first, project_file = opened(picture)
    work_on(first)
    layer = first.layer("regions")
    layer.selected_data = {0, 1, 2}
    layer.remove_selected()
    assert project_file.close()
    again, _ = opened(picture)
    assert again.session.uids("regions") == []
    assert len(again.session.uids("traces")) == 1


def test_a_project_of_other_axes_is_refused_and_kept(opened, picture):
    first, project_file = opened(picture)
    work_on(first)
    assert project_file.close()
    path, saved = project_file.path, project_file.path.read_bytes()
    other, project_file = opened(np.zeros((3, 50, 60), np.uint8))
    project_file.open(path)
    assert "2 axes" in other.sentences[-1]
    assert not other.session.records
    assert path.read_bytes() == saved
    project_file.open(path.with_name("nothing.patchioner.json"))
    assert "there is no such project" in other.sentences[-1]


def test_looking_at_an_image_leaves_no_file(opened, image_file):
    _, project_file = opened(None, path=image_file)
    project_file.autosave.touch()
    assert project_file.close()
    assert project_file.path is None
    assert [path.name for path in Path(image_file.parent).iterdir()] == ["stripes.png"]


def test_a_file_says_what_made_it(opened, picture):
    first, project_file = opened(picture, name="noise")
    first.queue.options["beams"] = 4
    work_on(first)
    assert project_file.close()
    content = json.loads(project_file.path.read_text())
    assert content["provenance"]["models"] == ["colours"]
    assert content["provenance"]["package"]
    assert content["options"]["beams"] == 4
    assert content["image"]["name"] == "noise"
    assert content["image"]["shape"] == [120, 180, 3]


# in the dock


def draw_in(dock):
    dock.controller.layer("regions").add([BOX], shape_type=["rectangle"])
    dock.controller.edit(dock.controller.session.uids("regions")[0], "mine")


def test_the_dock_saves_tells_where_and_restores(dock, viewer, registry, picture, qtbot):
    from napari_patchioner.viewer import CaptionDock

    draw_in(dock)
    qtbot.waitUntil(lambda: dock.projects.state.text().startswith("Saved in"), timeout=5000)
    [project_file] = dock.projects.files.values()
    assert dock.projects.state.toolTip() == str(project_file.path)
    dock.shut_down()
    viewer.layers.clear()
    viewer.add_image(picture, name="stripes")
    other = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(other, name="again")
    qtbot.waitUntil(lambda: "Restored 1 regions" in other.panel.status.text(), timeout=5000)
    assert [r.caption for r in other.controller.session.records.values()] == ["mine"]
    other.shut_down()


def test_a_dock_closed_and_opened_goes_on_with_the_same_file(dock, viewer, registry, qtbot):
    from napari_patchioner.viewer import CaptionDock

    session = work_on(dock.controller)
    before = described(session)
    image = dock.image
    [project_file] = dock.projects.files.values()
    dock.shut_down()
    layer = next(layer for layer in viewer.layers if layer.name.startswith("regions"))
    layer.add([BOX + 30], shape_type=["rectangle"])
    other = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(other, name="again")
    [again] = other.projects.files.values()
    qtbot.waitUntil(lambda: again.searched, timeout=5000)
    assert other.controller.image is image
    after = described(other.controller.session)
    assert after[1][:3] == before[1]
    assert {uid: after[0][uid] for uid in before[0]} == before[0]
    assert again.close()
    assert again.path == project_file.path
    assert len(read_project(again.path).records) == len(before[0]) + 1
    other.shut_down()


def test_removing_the_image_saves_first(dock, viewer, qtbot):
    draw_in(dock)
    [project_file] = dock.projects.files.values()
    shelf = project_file._store
    viewer.layers.remove(dock.image)
    assert [record.caption for record in read_project(shelf.path).records] == ["mine"]


@pytest.fixture
def broken(dock, monkeypatch):
    """A dock whose work cannot be saved."""
    from napari_patchioner.annotations.project import file
    from napari_patchioner.errors import FormatError

    def refuse(path, *_, **__):
        raise FormatError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr(file, "write_project", refuse)
    draw_in(dock)
    return dock


def answer(monkeypatch, button):
    from qtpy.QtWidgets import QMessageBox

    asked = []

    def execute(box):
        asked.append(box.text())
        return getattr(QMessageBox.StandardButton, button)

    monkeypatch.setattr(QMessageBox, "exec", execute)
    return asked


def test_the_window_asks_before_unsaved_work_is_lost(broken, viewer, monkeypatch, qtbot):
    from qtpy.QtGui import QCloseEvent
    from qtpy.QtWidgets import QApplication

    asked = answer(monkeypatch, "Cancel")
    event = QCloseEvent()
    QApplication.sendEvent(viewer.window._qt_window, event)
    assert not event.isAccepted()
    assert "No space left" in asked[0]
    assert broken.controller is not None
    assert answer(monkeypatch, "Discard") == []
    assert broken.may_close()


def test_unsaved_work_can_be_saved_elsewhere(broken, tmp_path, monkeypatch):
    from qtpy.QtWidgets import QFileDialog

    answer(monkeypatch, "Save")
    place = tmp_path / "elsewhere.patchioner.json"

    def choose(*_):
        monkeypatch.undo()
        monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "home"))
        return str(place), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    broken.shut_down()
    assert [record.caption for record in read_project(place).records] == ["mine"]


def test_a_project_is_opened_by_hand(dock, tmp_path, monkeypatch, qtbot):
    from qtpy.QtWidgets import QFileDialog

    from napari_patchioner.annotations import Project, ProjectImage, Record, Seen, write_project

    place = tmp_path / "somewhere.patchioner.json"
    record = Record("a", layer="regions", seen=Seen("rectangle", BOX), caption="found")
    write_project(place, Project(ProjectImage("x"), (record,)))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(place), ""))
    [project_file] = dock.projects.files.values()
    qtbot.waitUntil(lambda: project_file.searched, timeout=5000)
    dock.projects.open.click()
    assert [r.caption for r in dock.controller.session.records.values()] == ["found"]

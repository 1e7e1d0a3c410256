from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest
from small_gpu import SmallGpu

from napari_patchioner import load_model
from napari_patchioner.devices import CPU
from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.viewer.workers.models import KEPT, ModelRegistry, ModelStore


def counting(loads):
    def load(name, progress):
        loads.append(name)
        return object()

    return load


def use(registry, *models):
    for model in models:
        with registry.using(model):
            pass


def test_a_model_is_loaded_once():
    loads = []
    use(ModelRegistry(counting(loads), list), "a", "a")
    assert loads == ["a"]


def test_the_models_used_longest_ago_are_dropped():
    loads = []
    registry = ModelRegistry(counting(loads), list)
    use(registry, "a", "b", "a", "c")
    assert registry.loaded == ("a", "c")
    assert len(registry.loaded) == KEPT
    use(registry, "b")
    assert loads == ["a", "b", "c", "b"]


def test_a_model_in_use_is_never_dropped():
    registry = ModelRegistry(counting([]), list)
    with registry.using("a") as first:
        use(registry, "b", "c", "d")
        assert "a" in registry.loaded
        with registry.using("a") as again:
            assert again is first
    assert len(registry.loaded) == KEPT


def test_there_is_room_before_a_model_is_loaded():
    seen = []
    registry = ModelRegistry(lambda name, progress: seen.append(registry.loaded) or object(), list)
    use(registry, "a", "b", "c")
    assert max(map(len, seen)) == KEPT - 1


def test_progress_reaches_a_loader_that_takes_it():
    told = []

    def load(name, progress):
        progress(0.5, "half of the weights")
        return object()

    with ModelRegistry(load, list).using("a", lambda *what: told.append(what)):
        assert told == [(0.5, "half of the weights")]


def test_a_cancelled_loading_leaves_nothing_and_can_be_repeated():
    def stop(_fraction, _message):
        raise Cancelled

    def load(name, progress):
        progress(0.5, "")
        return object()

    registry = ModelRegistry(load, list)
    with pytest.raises(Cancelled), registry.using("a", stop):
        pytest.fail("nothing was loaded")
    assert registry.loaded == ()
    use(registry, "a")
    assert registry.loaded == ("a",)


def test_whoever_waits_for_another_model_can_cancel():
    loading, go_on = threading.Event(), threading.Event()

    def load(name, progress):
        loading.set()
        go_on.wait(10)
        return object()

    def stop(_fraction, message):
        assert "waiting" in message
        raise Cancelled

    registry = ModelRegistry(load, list)
    slow = threading.Thread(target=use, args=(registry, "slow"))
    slow.start()
    assert loading.wait(10)
    with pytest.raises(Cancelled), registry.using("other", stop):
        pytest.fail("two models were loaded at once")
    go_on.set()
    slow.join()
    assert registry.loaded == ("slow",)


def test_a_loaded_model_is_lent_while_another_one_loads():
    loading, go_on = threading.Event(), threading.Event()

    def load(name, progress):
        if name == "slow":
            loading.set()
            go_on.wait(10)
        return object()

    registry = ModelRegistry(load, list)
    use(registry, "quick")
    slow = threading.Thread(target=use, args=(registry, "slow"))
    slow.start()
    assert loading.wait(10)
    use(registry, "quick")
    go_on.set()
    slow.join()
    assert registry.loaded == ("quick", "slow")


def test_a_model_at_work_is_not_removed(shop):
    registry = ModelRegistry(counting([]), list, shop)
    with registry.using("a"), pytest.raises(ModelError, match="at work"):
        registry.remove("a")
    assert shop.calls == []


def test_a_model_is_not_lent_while_it_is_removed_but_others_are(shop):
    registry = ModelRegistry(counting([]), list, shop)

    def remove(model):
        use(registry, "other")
        with pytest.raises(ModelError, match="being removed"):
            use(registry, model)
        return 0

    shop.remove = remove
    registry.remove("paper")
    use(registry, "paper")
    assert registry.loaded == ("other", "paper")


def test_a_removed_model_is_no_longer_loaded(shop):
    registry = ModelRegistry(counting([]), list, shop)
    use(registry, "paper")
    assert registry.remove("paper") == shop.freed
    assert registry.loaded == ()


def test_a_model_got_anew_is_loaded_anew(shop):
    registry = ModelRegistry(counting([]), list, shop)
    use(registry, "paper")
    registry.get("paper", None, lambda *_: None)
    assert registry.loaded == ()


def test_without_a_store_nothing_can_be_got():
    with pytest.raises(ModelError, match="neither got nor removed"):
        ModelRegistry(counting([]), list).remove("a")


def test_an_unknown_model_is_named():
    with pytest.raises(ModelError, match="'gone'"):
        ModelRegistry(counting([]), list).card("gone")


def test_the_store_calls_the_models_room_as_it_is():
    """The functions the store hands on to take what it gives them."""
    from napari_patchioner import models

    inspect.signature(models.get_model).bind("id", folder=None, progress=None)
    inspect.signature(models.remove_model).bind("id")
    inspect.signature(models.add_model).bind("folder", progress=None)
    assert "progress" in inspect.signature(models.load_model).parameters
    assert ModelStore().folder().is_absolute()


def test_the_store_knows_which_files_no_hub_holds():
    store = ModelStore()
    [alpha] = store.by_hand("alphaclip-b16")
    assert "AlphaCLIP on GitHub" in alpha
    assert list(store.by_hand("clip-b16")) == []


class Placed:
    """A model that notes where it goes."""

    def __init__(self, name, placement, log):
        self.name, self.placement, self.log = name, placement, log

    def place(self, placement):
        self.placement = placement
        self.log.append((self.name, "gpu" if placement.is_gpu else "cpu"))


def on_gpu(log, *names):
    """Return a registry whose models with these names are loaded to a GPU."""
    gpu = SmallGpu()

    def load(name, progress):
        log.append((name, "loaded"))
        return Placed(name, gpu if name in names else CPU, log)

    return ModelRegistry(load, list)


def test_one_model_at_a_time_is_on_the_gpu():
    log = []
    registry = on_gpu(log, "a", "b")
    use(registry, "a", "a", "b", "b", "a")
    loaded = [("a", "loaded"), ("a", "cpu"), ("b", "loaded")]
    assert log == [*loaded, ("b", "cpu"), ("a", "gpu")]


def test_a_model_of_the_processor_stays_there():
    log = []
    registry = on_gpu(log, "a")
    use(registry, "b", "a", "b")
    assert log == [("b", "loaded"), ("a", "loaded")]


def test_a_model_at_work_on_the_gpu_is_waited_for():
    log, begun, go = [], threading.Event(), threading.Event()
    registry = on_gpu(log, "a", "b")
    waits = []

    def progress(_fraction, message):
        waits.append(message)
        go.set()

    def work():
        with registry.using("a"):
            begun.set()
            assert go.wait(60)
            log.append(("a", "done"))

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    with registry.using("b", progress):
        log.append(("b", "used"))
    thread.join()
    assert "waiting for another model to leave the GPU" in waits
    order = [("a", "loaded"), ("a", "done"), ("a", "cpu"), ("b", "loaded"), ("b", "used")]
    assert log == order


def test_whoever_waits_for_the_gpu_can_cancel():
    def stop(_fraction, _message):
        raise Cancelled

    log = []
    registry = on_gpu(log, "a", "b")
    with registry.using("a"):
        with pytest.raises(Cancelled), registry.using("b", stop):
            pytest.fail("the GPU was taken")
        assert log == [("a", "loaded")]
    use(registry, "b")
    assert log == [("a", "loaded"), ("a", "cpu"), ("b", "loaded")]


def test_models_that_are_forgotten_leave_the_gpu():
    log = []
    registry = on_gpu(log, "a")
    with registry.using("a") as captioner:
        gpu = captioner.placement
    registry.forget()
    assert registry.loaded == ()
    assert gpu.counts["emptied"] == 1


def test_two_real_models_change_places():
    gpus = {}

    def load(name, progress):
        captioner = load_model("mini", engine="torch")
        captioner.place(gpus.setdefault(name, SmallGpu()))
        return captioner

    registry = ModelRegistry(load, list)
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    with registry.using("a") as first:
        grid = first.encode(image)
    with registry.using("b"):
        assert first.placement == first.backbone.placement == CPU
    with registry.using("a") as again:
        assert again is first
        assert again.backbone.placement is gpus["a"]
        np.testing.assert_array_equal(again.encode(image).embeddings, grid.embeddings)

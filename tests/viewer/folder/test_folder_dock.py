from __future__ import annotations


def test_images_are_gone_through_and_the_next_one_is_ready(quiet, browser, go, qtbot, captioner):
    go("i1.png")
    qtbot.waitUntil(lambda: browser.ahead.ready, timeout=10000)
    assert captioner.seen == [1, 2]
    browser.step(1)
    qtbot.waitUntil(
        lambda: browser.opened.file.name == "i2.png" and browser.opened.annotator.reader.ready,
        timeout=10000,
    )
    qtbot.waitUntil(lambda: browser.ahead.ready, timeout=10000)
    assert captioner.seen == [1, 2, 10]

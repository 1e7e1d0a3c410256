"""The window of somebody who works with the model that ships."""


def read(dock, qtbot):
    """Press Start, and wait until the image is looked at."""
    dock.panel.progress.button.click()
    encoder = dock.controller.encoder
    qtbot.waitUntil(lambda: encoder.ready and not encoder.active, timeout=120_000)

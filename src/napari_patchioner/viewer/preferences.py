"""What people set in napari's own preferences, under the name of the plugin."""

from __future__ import annotations

from typing import Any

NAME = "napari-patchioner"
# The plugin and the names of its docks, which napari opens.
CAPTION_DOCK = (NAME, "Patch-ioner: caption regions")
FOLDER_DOCK = (NAME, "Patch-ioner: folder of images")
# As in the manifest; for when napari knows nothing of the plugin, as in a script.
DEFAULTS: dict[str, dict[str, Any]] = {
    "models": {"first": "", "device": "cpu", "engine": "auto"},
    "captions": {"visible": True, "lines": 3, "template": "{caption}"},
    "cache": {"on_disk": True, "memory_mb": 512, "disk_mb": 2000},
    "folder": {"read_at_once": True, "read_ahead": True},
}
# What was set while napari knew nothing of the plugin.
_unsaved: dict[tuple[str, str], Any] = {}


def _settings(group: str) -> Any:
    from napari.settings import get_plugin_settings

    try:
        return getattr(get_plugin_settings(NAME), group, None)
    except KeyError:
        return None


def preference(group: str, name: str) -> Any:
    """Return what somebody has set, or the default.

    >>> preference("captions", "lines")
    3
    """
    default = _unsaved.get((group, name), DEFAULTS[group][name])
    return getattr(_settings(group), name, default)


def set_preference(group: str, name: str, value: Any) -> None:
    """Set a preference, which napari keeps for the next time where it knows the plugin."""
    if (settings := _settings(group)) is None:
        _unsaved[group, name] = value
    else:
        setattr(settings, name, value)

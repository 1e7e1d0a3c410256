"""What people set in napari's own preferences, under the name of the plugin."""

from __future__ import annotations

from typing import Any

NAME = "napari-patchioner"
# As in the manifest; for when napari knows nothing of the plugin, as in a script.
DEFAULTS: dict[str, dict[str, Any]] = {
    "models": {"first": ""},
    "captions": {"visible": True, "lines": 3, "template": "{caption}"},
    "cache": {"on_disk": True, "memory_mb": 512, "disk_mb": 2000},
    "folder": {"read_at_once": True, "read_ahead": True},
}


def preference(group: str, name: str) -> Any:
    """Return what somebody has set, or the default.

    >>> preference("captions", "lines")
    3
    """
    from napari.settings import get_plugin_settings

    try:
        settings = get_plugin_settings(NAME)
    except KeyError:
        return DEFAULTS[group][name]
    return getattr(getattr(settings, group, None), name, DEFAULTS[group][name])

"""What can go wrong with a download, each in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path


class Unreachable(ModelError):
    """The hub does not answer, so nothing is known of its files."""


def hub_trouble(error: BaseException, endpoint: str, repo: str, path: str) -> ModelError:
    """Say in one sentence what went wrong at the hub and what to do."""
    what = f"{repo}/{path}" if path else repo
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    hidden = response is not None and response.headers.get("X-Error-Code") == "RepoNotFound"
    if status in (401, 403) and not hidden:
        return ModelError(
            f"{what} is handed out to people who agreed to its licence only: accept it at "
            f"{endpoint}/{repo}, log in with 'hf auth login', then get the model again."
        )
    if status in (404, 410) or hidden:
        return ModelError(
            f"{endpoint} has no {what}; check HF_ENDPOINT, update napari-patchioner, or "
            "get the model from a folder."
        )
    reason = f"status {status}" if status else _first_line(error)
    return Unreachable(
        f"{what} did not come from {endpoint} ({reason}); check the network and proxy "
        "and get the model again to go on from there, or get it from a folder."
    )


def _first_line(error: BaseException) -> str:
    """Return what an error says, short."""
    lines = str(error).splitlines()
    return lines[0][:120] if lines else type(error).__name__


def is_network(error: Exception) -> bool:
    """Tell whether an error comes from the network or the server."""
    from huggingface_hub.errors import HfHubHTTPError

    # The base of every error of whichever HTTP client the hub's library is built on.
    client_errors = HfHubHTTPError.__mro__[1]
    # The rest is what the library makes of a page that is no answer of a hub.
    strange = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
    return isinstance(error, (client_errors, OSError, *strange))


def other_file(name: str, found: str, wanted: str, done: str, where: str = "") -> ModelError:
    """Say in one sentence that a file has other contents than it should.

    ``where`` the right one is found is told if that is known.
    """
    advice = f"take the one {where}" if where else "try again later, or get it from another place"
    return ModelError(
        f"{name} is not the file it should be (it has the hash {found[:12]}… instead of "
        f"{wanted[:12]}…); {done}: {advice}."
    )


def disk_trouble(error: OSError, folder: Path, variable: str = "HF_HOME") -> ModelError:
    """Say in one sentence why files cannot be written, and which variable chooses the folder."""
    return ModelError(
        f"{folder} cannot be written ({error.strerror or error}); make room, or set {variable} to "
        "a folder on another disk, and get the model again to go on from there."
    )

"""The server that a person has set up: its address, what it is asked, and which hosts may be.

All of it lies in one file of the store that only its owner may read, as it may hold a key. No
project, no export and no log has a part of it but the host, the model and the prompt.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_patchioner.describers import DESCRIBE, MOST_TOKENS, Endpoint, Server, check_template
from napari_patchioner.errors import ModelError, shell_command
from napari_patchioner.limits import check_plain_file

from .store import store_folder

PREFIX = "server:"
"""What the ids of models on a server begin with: ``server:MODEL`` or ``server:MODEL@ADDRESS``."""
KEY = "NAPARI_PATCHIONER_SERVER_KEY"
"""The variable of the environment that holds a key, in place of the one that was set up."""
LARGEST_TOKENS = 8000
"""The largest number of tokens that an answer may have."""
_FILE = "server.json"
_LARGEST = 1_000_000
_AT = re.compile("@(?=https?:)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a person has set up; nothing is contacted while ``address`` is empty.

    Attributes
    ----------
    address : str
        Of the server.
    model : str
        Name of the model there; the only one that it has where this is empty.
    prompt : str
        What is asked of a region.
    key : str
        Sent to this address and no other.
    allowed : tuple of str
        Other hosts than this machine that may be sent crops, as `Endpoint.host` has them.
    most_tokens : int
        Longest answer.
    """

    address: str = ""
    model: str = ""
    prompt: str = DESCRIBE
    key: str = ""
    allowed: tuple[str, ...] = ()
    most_tokens: int = MOST_TOKENS

    def __repr__(self) -> str:
        """Return all of it but the key."""
        return f"ServerSettings({self.address!r}, {self.model!r}, allowed={self.allowed!r})"

    @property
    def is_set_up(self) -> bool:
        """Whether a person has named a server."""
        return bool(self.address)

    def endpoint(self, address: str = "") -> Endpoint:
        """Return the server's address, or another one, which is not given the key.

        A ModelError in one sentence where none was set up, or it makes no sense.
        """
        if not (address or self.address):
            raise ModelError(
                "No server is set up; run "
                f"'{shell_command('server', 'set', '--address', 'ADDRESS')}', or choose Server… in "
                "the dock."
            )
        own = Endpoint(self.address) if self.address else None
        asked = Endpoint(address or self.address, allowed=self.allowed)
        key = os.environ.get(KEY) or self.key
        # What was given for one host is shown to no other.
        same = own is not None and own.host == asked.host
        return replace(asked, key=key) if same or (own is None and os.environ.get(KEY)) else asked

    def server(self, model: str = "", address: str = "", prompt: str = "") -> Server:
        """Return the server to ask, with another model, address or prompt where given."""
        chosen = model or (self.model if not address else "")
        endpoint = self.endpoint(address)
        return Server(endpoint, chosen, prompt or self.prompt, most_tokens=self.most_tokens)

    def checked(self) -> ServerSettings:
        """Return it with a tidy address; a ModelError where something makes no sense."""
        check_template(self.prompt)
        if not 1 <= self.most_tokens <= LARGEST_TOKENS:
            raise ModelError(f"An answer has 1 to {LARGEST_TOKENS:,} tokens; give such a number.")
        address = Endpoint(self.address, self.key).address if self.address else ""
        prompt = self.prompt.strip() or DESCRIBE
        return replace(self, address=address, model=self.model.strip(), prompt=prompt)


def settings_file() -> Path:
    """Return where the settings lie."""
    return store_folder() / _FILE


def read_settings() -> ServerSettings:
    """Return what was set up; nothing where there is no file.

    A ModelError in one sentence where it is damaged.
    """
    path = settings_file()
    if not path.exists():
        return ServerSettings()
    if check_plain_file(path, ModelError) > _LARGEST:
        raise _damaged(path)
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(read, dict):
        raise _damaged(path)
    texts = {name: read.get(name, "") for name in ("address", "model", "prompt", "key")}
    allowed, most = read.get("allowed", []), read.get("most_tokens", MOST_TOKENS)
    every = [*texts.values(), *(allowed if isinstance(allowed, list) else [None])]
    if type(most) is not int or not all(isinstance(text, str) for text in every):
        raise _damaged(path)
    try:
        return ServerSettings(**texts, allowed=tuple(allowed), most_tokens=most).checked()
    except ModelError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> ModelError:
    forget = shell_command("server", "forget")
    return ModelError(f"{path} is damaged; delete it with '{forget}' and set the server up again.")


def write_settings(settings: ServerSettings) -> None:
    """Keep settings; nobody but their owner may read the file."""
    settings, path = settings.checked(), settings_file()
    beside = path.with_name(f".{_FILE}-{os.getpid()}")
    values: dict[str, Any] = {**asdict(settings), "allowed": list(settings.allowed)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            beside.unlink()
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(values, file, ensure_ascii=False, indent=1)
        beside.replace(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be written ({error.strerror or error}).") from error


def forget_settings() -> None:
    """Delete all that was set up, the key and the hosts that were allowed."""
    settings_file().unlink(missing_ok=True)


def allow_host(address: str) -> str:
    """Let the host of an address be sent crops from now on; return what it is called."""
    host, settings = Endpoint(address).host, read_settings()
    write_settings(replace(settings, allowed=tuple(dict.fromkeys([*settings.allowed, host]))))
    return host


def revoke_host(address: str) -> str:
    """Take back that a host may be sent crops; return what it is called.

    A ModelError where it was not allowed.
    """
    host, settings = Endpoint(address).host, read_settings()
    if host not in settings.allowed:
        raise ModelError(
            f"{host} was not allowed; allowed: {', '.join(settings.allowed) or 'none'}."
        )
    write_settings(replace(settings, allowed=tuple(h for h in settings.allowed if h != host)))
    return host


def is_server(name: str) -> bool:
    """Whether an id means a model on a server."""
    return name.startswith(PREFIX)


def server_named(name: str) -> Server:
    """Return the server that an id means, such as ``"server:llava:13b"`` or ``"server:"``.

    >>> server_named("server:llava:13b@http://127.0.0.1:11434").model
    'llava:13b'
    """
    # Schemes are written in letters of any case.
    parts = _AT.split(name.removeprefix(PREFIX), maxsplit=1)
    return read_settings().server(parts[0], parts[1] if len(parts) > 1 else "")

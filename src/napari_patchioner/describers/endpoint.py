"""Where a server is: its address, whether that is this machine, and what a person allowed."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from napari_patchioner.errors import ModelError, shell_command

EXAMPLE = "http://127.0.0.1:11434/v1"
_LONGEST = 500
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of an OpenAI-compatible server.

    Parameters
    ----------
    address : str
        Such as ``"http://127.0.0.1:11434/v1"``; without a path ``/v1`` is meant.
    key : str, optional
        Sent as a bearer token; it is in no text that this package shows or writes.
    allowed : collection of str
        Other hosts than this machine that a person allowed, each as `host` has it.

    Raises
    ------
    ModelError
        If the address or the key makes no sense.

    Examples
    --------
    >>> Endpoint("http://localhost:8080").address
    'http://localhost:8080/v1'
    >>> Endpoint("https://gpu.example/v1/").host, Endpoint("https://gpu.example/v1").is_local
    ('https://gpu.example', False)
    """

    address: str
    key: str = field(default="", repr=False)
    allowed: Collection[str] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        given = self.address.strip()
        try:
            parts = urlsplit(given)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        name = parts.hostname or ""
        plain = given.isascii() and given.isprintable() and " " not in given
        if parts.scheme not in _PORTS or not name or not plain or len(given) > _LONGEST:
            raise ModelError(
                f"{given[:80]!r} is no address of a server; write one such as {EXAMPLE}."
            )
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ModelError(
                f"The address of a server holds neither a log-in nor ? nor #; write one such as "
                f"{EXAMPLE}, and the key apart from it."
            )
        if not (self.key.isascii() and self.key.isprintable()) or " " in self.key.strip():
            raise ModelError("The key holds signs that no key can; copy it again.")
        shown = f"[{name}]" if ":" in name else name
        where = shown if port in (None, _PORTS[parts.scheme]) else f"{shown}:{port}"
        path = parts.path.rstrip("/") or "/v1"
        object.__setattr__(self, "address", f"{parts.scheme}://{where}{path}")
        object.__setattr__(self, "key", self.key.strip())

    @property
    def host(self) -> str:
        """What a person is asked about: scheme, host and port, without the path."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def name(self) -> str:
        """Its host and port, as captions name it."""
        return urlsplit(self.address).netloc

    @property
    def is_local(self) -> bool:
        """Whether it is this machine: a loopback address, or ``localhost``."""
        name = urlsplit(self.address).hostname or ""
        if name == "localhost":
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    @property
    def is_allowed(self) -> bool:
        """Whether it may be sent anything: this machine, or what a person allowed."""
        return self.is_local or self.host in self.allowed

    def check(self) -> None:
        """Raise a ModelError unless it may be sent pictures."""
        if not self.is_allowed:
            raise ModelError(
                f"{self.host} is not this machine, and crops of the image would leave it for "
                f"there; allow that first with '{shell_command('server', 'allow', self.host)}' or "
                "in the dock, or give an address of this machine."
            )
        if urlsplit(self.address).hostname == "localhost" and not _loops_back():
            raise ModelError(
                "On this computer localhost is another machine; write 127.0.0.1 in its place."
            )


def _loops_back() -> bool:
    """Whether localhost is this machine, whatever the system says."""
    try:
        entries = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
    except OSError:
        return True  # Then there is nothing to connect to either.
    places = [str(entry[4][0]).partition("%")[0] for entry in entries]
    return all(ipaddress.ip_address(place).is_loopback for place in places)


def question(endpoint: Endpoint) -> str:
    """Return what a person is asked before another host than this machine is sent anything.

    >>> print(question(Endpoint("http://gpu.example:8000")))
    http://gpu.example:8000 is not this machine. Crops of your image, with the outlines and texts \
of your prompt, will leave this machine for that host, and not encrypted. Allow it?
    """
    bare = ", and not encrypted" if endpoint.host.startswith("http:") else ""
    return (
        f"{endpoint.host} is not this machine. Crops of your image, with the outlines and texts of "
        f"your prompt, will leave this machine for that host{bare}. Allow it?"
    )

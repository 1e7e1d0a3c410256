"""A hub on this computer: as much of the Hugging Face hub's protocol as its registry speaks.

Files of a repository are told by ``/api/models/REPO`` and come from ``/REPO/resolve/REV/PATH``,
where large ones (Git LFS) are handed on to a second address, as the real hub does. Switches make
it fail the way networks and servers do.
"""

from __future__ import annotations

import hashlib
import json
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

LFS_FROM = 200


@dataclass
class HubServer:
    """What the server holds, how it misbehaves, and what it was asked.

    Attributes
    ----------
    cdn : str
        Where large files are handed on to; the server itself by default.
    repos : dict
        Repository to path to contents.
    drops : dict
        Path to numbers of bytes after which the connection breaks, one for each request to come.
    wrong : set
        Paths whose bytes come altered.
    statuses : dict
        Repository or path to the status it is refused with.
    hidden : bool
        Whether what it refuses is said not to be there, as the real hub does of private ones.
    rangeless : bool
        Whether it always sends whole files.
    names_only : bool
        Whether it tells names of files but neither sizes nor hashes, as simple mirrors do.
    etag : str
        What it calls every file; its hash by default, as the real hub does.
    sha : str
        What it calls every version.
    lie : callable
        Changes what is told of a repository before it is sent.
    handed_to : str
        Address that every file is handed on to, whatever it is.
    endless : bool
        Whether more bytes follow those of a file, without an end.
    pause : float
        Seconds before each piece of ``piece`` bytes.
    stalled : set
        Paths of whose contents nothing comes before ``go`` is set.
    sent : list
        The path of every piece that was sent.
    """

    url: str = ""
    cdn: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    drops: dict[str, list[int]] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)
    statuses: dict[str, int] = field(default_factory=dict)
    hidden: bool = False
    rangeless: bool = False
    names_only: bool = False
    etag: str = ""
    sha: str = ""
    lie: Any = None
    handed_to: str = ""
    endless: bool = False
    pause: float = 0.0
    piece: int = 1 << 16
    stalled: set[str] = field(default_factory=set)
    go: Event = field(default_factory=Event)
    sent: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def commit(self, repo: str) -> str:
        """Return the version of a repository: another one whenever its contents change."""
        if self.sha:
            return self.sha
        listed = [(path, sha256(data)) for path, data in sorted(self.repos[repo].items())]
        return hashlib.sha1(repr(listed).encode()).hexdigest()

    def fetched(self, path: str = "") -> list[str]:
        """Return the ranges that were asked for in downloads of a file, or of any file."""
        return [
            asked
            for method, place, asked in self.requests
            if method == "GET" and "/resolve/" in place and place.endswith(path)
        ]


@contextmanager
def serve(repos: dict[str, dict[str, bytes]]) -> Iterator[HubServer]:
    """Run a hub on a free port of this computer."""
    hub = HubServer(repos=repos)

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def git_blob(data: bytes) -> str:
    """Return git's name for a file of these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    state: HubServer
    protocol_version = "HTTP/1.1"
    path_sent = ""
    timeout = 30

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def _answer(self) -> None:
        place = unquote(urlsplit(self.path).path)
        self.state.requests.append((self.command, place, self.headers.get("Range", "")))
        self.state.headers.append({key.lower(): value for key, value in self.headers.items()})
        parts = place.strip("/").split("/")
        with suppress(ConnectionError):
            if parts[:2] == ["api", "models"]:
                self._show_message("/".join(parts[2:4]))
            elif parts[0] == "lfs":
                self._file("/".join(parts[1:3]), "/".join(parts[3:]), direct=True)
            elif "resolve" in parts:
                self._file("/".join(parts[:2]), "/".join(parts[4:]), direct=False)
            else:
                self._refuse(404, "RepoNotFound")

    def _show_message(self, repo: str) -> None:
        if self._refused(repo):
            return
        siblings = [
            {"rfilename": path} if self.state.names_only else _sibling(path, data)
            for path, data in self.state.repos[repo].items()
        ]
        told = {
            "_id": "0",
            "id": repo,
            "modelId": repo,
            "sha": self.state.commit(repo),
            "private": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
        }
        if self.state.lie is not None:
            told = self.state.lie(told)
        self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _file(self, repo: str, path: str, *, direct: bool) -> None:
        if self._refused(repo, path):
            return
        data = self.state.repos[repo][path]
        if self.state.handed_to:
            self._send(302, b"", {"Location": self.state.handed_to})
            return
        lfs = len(data) >= LFS_FROM
        headers = {
            "X-Repo-Commit": self.state.commit(repo),
            "ETag": f'"{self._etag(data)}"',
            "Accept-Ranges": "bytes",
        }
        if lfs and not direct:
            headers |= {
                "X-Linked-Size": str(len(data)),
                "X-Linked-Etag": f'"{self._etag(data)}"',
                "Location": f"{self.state.cdn or self.state.url}/lfs/{repo}/{path}",
            }
            self._send(302, b"", headers)
        else:
            self._contents(path, data, headers)

    def _etag(self, data: bytes) -> str:
        return self.state.etag or (sha256(data) if len(data) >= LFS_FROM else git_blob(data))

    def _contents(self, path: str, data: bytes, headers: dict[str, str]) -> None:
        if path in self.state.wrong:
            data = bytes(255 - byte for byte in data)
        asked = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
        start = int(asked) if asked and not self.state.rangeless else 0
        if start >= len(data) > 0:
            self._refuse(416, "RangeNotSatisfiable")
            return
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        drops = self.state.drops.get(path, [])
        whole = data[start:]
        sent = whole[: drops.pop(0)] if drops and self.command == "GET" else whole
        self.path_sent = path
        self._send(206 if start else 200, sent, headers, length=len(whole))

    def _refused(self, repo: str, path: str = "") -> bool:
        status = self.state.statuses.get(path) or self.state.statuses.get(repo)
        if status:
            code = {401: "GatedRepo", 403: "GatedRepo"}.get(status, "")
            self._refuse(status, "RepoNotFound" if self.state.hidden else code)
        elif repo not in self.state.repos:
            self._refuse(404, "RepoNotFound")
        elif path and path not in self.state.repos[repo]:
            self._refuse(404, "EntryNotFound")
        else:
            return False
        return True

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(
        self, status: int, data: bytes, headers: dict[str, str], length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.state.endless and self.path_sent:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.state.endless and self.path_sent:
            self.wfile.write(data)
            while True:
                self.wfile.write(bytes(1000))
        for first in range(0, len(data), self.state.piece):
            if self.state.pause:
                time.sleep(self.state.pause)
            if self.path_sent in self.state.stalled:
                self.state.go.wait(60)
            self.wfile.write(data[first : first + self.state.piece])
            self.state.sent.append(self.path_sent)
        if length is not None and length > len(data):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


def _sibling(path: str, data: bytes) -> dict[str, Any]:
    told: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_blob(data)}
    if len(data) >= LFS_FROM:
        told["lfs"] = {"size": len(data), "sha256": sha256(data), "pointerSize": 130}
    return told

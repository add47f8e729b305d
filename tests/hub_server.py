"""A small hub on this machine, with faults that can be switched on: for tests of downloads without a network.

It speaks as much of the protocol of huggingface.co as `huggingface_hub` uses to fetch the files of a model:

- `GET /api/models/OWNER/NAME/revision/REVISION?blobs=true`: the files and their checksums
- `HEAD` and `GET /OWNER/NAME/resolve/REVISION/FILE`: one file. Small ones are sent at once (their ETag is git's SHA-1);
  weights are redirected to another host, as the hub does to its CDN (`X-Linked-Etag` is their SHA-256).
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

LARGE_FILE_SUFFIXES = (".safetensors", ".bin", ".h5", ".msgpack")


@dataclass
class Request:
    method: str
    path: str
    range: str | None


@dataclass
class Faults:
    """What the server does wrong."""

    status: int | None = None  # answer everything with this status ...
    error_code: str | None = None  # ... and this X-Error-Code
    html: bool = False  # answer everything as the login page of a hotel network does
    listing: bytes | None = None  # send this in place of the list of files
    listing_delay: float = 0.0  # seconds to wait before sending the list of files
    corrupt: str | None = None  # change the bytes of this file on the way
    break_after: int = 0  # close the connection after so many bytes of a large file ...
    breaks: int = 0  # ... so many times


@dataclass
class HubServer:
    """Serves the folders `root/OWNER/NAME` as repositories with one branch, `main`, as a context manager."""

    root: Path
    faults: Faults = field(default_factory=Faults)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> HubServer:
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port: from now on the hub cannot be reached. May be called twice."""
        self._http.shutdown()
        self._http.server_close()

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def cdn_address(self) -> str:
        return f"http://localhost:{self.port}/cdn"  # another name, hence another host to an HTTP client

    def add(self, repo_id: str, files: dict[str, bytes]) -> str:
        """Make a repository of these files, in place of an older one; returns its commit."""
        folder = self.root / repo_id
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, contents in files.items():
            (folder / name).write_bytes(contents)
        return self.commit(repo_id)

    def commit(self, repo_id: str) -> str:
        digest = hashlib.sha1()
        for path in sorted((self.root / repo_id).iterdir()):
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()

    def fetched(self, file: str) -> list[Request]:
        """The requests so far for the contents of `file`."""
        return [
            request
            for request in self.requests
            if request.method == "GET" and request.path.endswith("/" + file) and "/api/" not in request.path
        ]


def checksum(path: Path) -> str:
    """As the hub declares it: SHA-256 for files in large-file storage, git's SHA-1 for the others."""
    contents = path.read_bytes()
    if path.name.endswith(LARGE_FILE_SUFFIXES):
        return hashlib.sha256(contents).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(contents) + contents).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, faults = self.server_hub, self.server_hub.faults
        path = unquote(urlsplit(self.path).path)
        hub.requests.append(Request(self.command, path, self.headers.get("Range")))
        match path.strip("/").split("/"):
            case _ if faults.html:
                page = b"<html><body>Welcome! Please log in.</body></html>"
                self._send(200, page, {"Content-Type": "text/html"})
            case _ if faults.status is not None:
                self._send(faults.status, b"", {"X-Error-Code": faults.error_code} if faults.error_code else {})
            case ["api", "models", owner, name, "revision", revision]:
                self._listing(f"{owner}/{name}", revision)
            case [owner, name, "resolve", revision, file]:
                self._resolve(f"{owner}/{name}", revision, file)
            case ["cdn", owner, name, file]:
                self._contents(f"{owner}/{name}", file, {})
            case _:
                self._send(404, b"", {})

    def _listing(self, repo_id: str, revision: str) -> None:
        faults = self.server_hub.faults
        time.sleep(faults.listing_delay)
        if not self._has(repo_id, revision):
            return
        siblings = []
        for path in sorted((self.server_hub.root / repo_id).iterdir()):
            size = path.stat().st_size
            sibling: dict[str, object] = {"rfilename": path.name, "size": size, "blobId": checksum(path)}
            if path.name.endswith(LARGE_FILE_SUFFIXES):
                sibling["blobId"] = "0" * 40  # git's name for the pointer that stands in the file's place
                sibling["lfs"] = {"sha256": checksum(path), "size": size, "pointerSize": 130}
            siblings.append(sibling)
        listing = {"id": repo_id, "sha": self.server_hub.commit(repo_id), "siblings": siblings}
        self._send(200, faults.listing or json.dumps(listing).encode(), {"Content-Type": "application/json"})

    def _resolve(self, repo_id: str, revision: str, file: str) -> None:
        if not self._has(repo_id, revision):
            return
        commit = {"X-Repo-Commit": self.server_hub.commit(repo_id)}
        path = self.server_hub.root / repo_id / file
        if not path.is_file():
            self._send(404, b"", commit | {"X-Error-Code": "EntryNotFound"})
        elif file.endswith(LARGE_FILE_SUFFIXES):
            linked = {"X-Linked-Etag": f'"{checksum(path)}"', "X-Linked-Size": str(path.stat().st_size)}
            self._send(302, b"", commit | linked | {"Location": f"{self.server_hub.cdn_address}/{repo_id}/{file}"})
        else:
            self._contents(repo_id, file, commit | {"ETag": f'"{checksum(path)}"'})

    def _has(self, repo_id: str, revision: str) -> bool:
        if not (self.server_hub.root / repo_id).is_dir():
            self._send(401, b"", {"X-Error-Code": "RepoNotFound"})  # the hub's answer to those who are not logged in
            return False
        if revision not in ("main", self.server_hub.commit(repo_id)):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return False
        return True

    def _contents(self, repo_id: str, file: str, headers: dict[str, str]) -> None:
        faults = self.server_hub.faults
        contents = (self.server_hub.root / repo_id / file).read_bytes()
        if faults.corrupt == file:
            contents = contents[:-1] + bytes([contents[-1] ^ 1])
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if start:
            headers = headers | {"Content-Range": f"bytes {start}-{len(contents) - 1}/{len(contents)}"}
        broken = self.command == "GET" and file.endswith(LARGE_FILE_SUFFIXES) and faults.breaks > 0
        if broken:
            faults.breaks -= 1
        self._send(206 if start else 200, contents[start:], headers, stop_after=faults.break_after if broken else None)

    def _send(self, status: int, body: bytes, headers: dict[str, str], stop_after: int | None = None) -> None:
        # A client that has hung up is nothing to report: it would be printed in the middle of some later test.
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[:stop_after])

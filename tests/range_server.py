"""A web server on this machine that serves byte ranges of files, keeps a log, and misbehaves on demand.

Run as a program it serves a directory until it is killed, and prints its address.
"""

import contextlib
import hashlib
import http.server
import json
import re
import sys
import threading
import urllib.parse
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Log:
    """What was asked and sent: (path, first byte, stop byte, bytes sent) of every range request, and all HEADs."""

    ranges: list = field(default_factory=list)
    heads: list = field(default_factory=list)
    headers: list = field(default_factory=list)
    documents: list = field(default_factory=list)

    @property
    def bytes_sent(self):
        return sum(sent for *_, sent in self.ranges)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.server.log.heads.append(self.path)
        if self.path not in self.server.sizes:
            return self.answer(404)
        size = self.server.said_sizes.get(self.path, self.server.sizes[self.path])
        return self.answer(200, {"Content-Length": size} | self.file_headers())

    def do_GET(self):
        address = urllib.parse.unquote(self.path.partition("?")[0])
        if address in self.server.documents:
            code, headers, content = self.server.documents[address]
            body = json.dumps(content).encode()
            self.server.log.documents.append(address)
            self.answer(code, {**headers, "Content-Length": len(body), "Content-Type": "application/json"})
            self.wfile.write(body)
            return
        self.server.log.headers.append(dict(self.headers))
        if self.path not in self.server.sizes:
            self.answer(404, {"Content-Length": 0})
            return
        size = self.server.sizes[self.path]
        asked = self.headers["Range"]
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked or f"bytes=0-{size - 1}")
        start, stop = int(match[1]), min(int(match[2]) + 1, size)
        entry = [self.path, start, int(match[2]) + 1, 0]
        with self.server.lock:
            self.server.log.ranges.append(entry)
            fault = self.server.faults.popleft() if self.server.faults else None
        if start >= size:
            self.answer(416, {"Content-Length": 0})
            return
        with contextlib.suppress(ConnectionError):
            (fault or (send_range if asked else whole_file))(self, entry, start, stop)

    def answer(self, status, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, str(value))
        self.end_headers()

    def file_headers(self):
        shared = {"ETag": self.server.etag} if self.server.etag else {}
        return shared | self.server.headers.get(self.path, {})

    def data(self, start, stop):
        return self.server.read(self.path, start, stop)

    def range_headers(self, start, stop):
        total = self.server.sizes[self.path]
        range_ = {"Content-Range": f"bytes {start}-{stop - 1}/{total}", "Content-Length": stop - start}
        return range_ | self.file_headers()

    def send(self, entry, start, stop):
        """Send the bytes and count them."""
        while start < stop:
            part = self.data(start, min(start + (1 << 16), stop))
            self.server.gate(entry)
            entry[3] += len(part)  # first: who has read it all may look at once
            self.wfile.write(part)
            start += len(part)

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)


def send_range(handler, entry, start, stop):
    handler.answer(206, handler.range_headers(start, stop))
    handler.send(entry, start, stop)


def status(code, **headers):
    """Answer with a status and no body."""

    def fault(handler, entry, start, stop):
        handler.answer(
            code, {"Content-Length": 0, **{name.replace("_", "-"): value for name, value in headers.items()}}
        )

    return fault


def drop_after(count):
    """Announce the whole range, send `count` bytes of it, hang up."""

    def fault(handler, entry, start, stop):
        handler.answer(206, handler.range_headers(start, stop))
        handler.send(entry, start, min(start + count, stop))
        handler.hang_up()

    return fault


def end_without_length(count):
    """Send `count` bytes with no Content-Length: the end of the connection is the only mark of the end."""

    def fault(handler, entry, start, stop):
        headers = handler.range_headers(start, stop)
        del headers["Content-Length"]
        handler.answer(206, headers | {"Connection": "close"})
        handler.send(entry, start, min(start + count, stop))
        handler.hang_up()

    return fault


def send_less(count):
    """Send a shorter range than was asked for, and say so, as a server may."""

    def fault(handler, entry, start, stop):
        send_range(handler, entry, start, min(start + count, stop))

    return fault


def shifted(by):
    """Send other bytes than were asked for, and say which."""

    def fault(handler, entry, start, stop):
        send_range(handler, entry, start + by, stop)

    return fault


def with_headers(**changes):
    """Send the right bytes under other headers; None leaves a header out."""

    def fault(handler, entry, start, stop):
        headers = handler.range_headers(start, stop)
        for name, value in changes.items():
            headers.pop(name.replace("_", "-"), None)
            if value is not None:
                headers[name.replace("_", "-")] = value
        handler.answer(206, headers)
        handler.send(entry, start, stop)
        handler.hang_up()

    return fault


def whole_file(handler, entry, start, stop):
    """Answer as a server without ranges does."""
    size = handler.server.sizes[handler.path]
    handler.answer(200, {"Content-Length": size} | handler.file_headers())
    handler.send(entry, 0, size)


def in_shards(content, sizes, stem="document"):
    """Content cut into shards {name: bytes}, named as EleutherAI/pythia `shard_memmap.py` does: by the last one."""
    assert sum(sizes) == len(content)
    shards, start = {}, 0
    for index, size in enumerate(sizes):
        shards[f"{stem}-{index:05d}-of-{len(sizes) - 1:05d}.bin"] = content[start : start + size]
        start += size
    return shards


class RangeServer(http.server.ThreadingHTTPServer):
    """Serves byte strings or files under their names; `with RangeServer(...) as server:` runs it."""

    daemon_threads = True

    def __init__(self, files, *, faults=(), etag='"v1"', gate=lambda entry: None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {f"/{name}": content for name, content in files.items()}
        self.sizes = {
            path: content.stat().st_size if isinstance(content, Path) else len(content)
            for path, content in self.files.items()
        }
        self.said_sizes, self.documents, self.headers = {}, {}, {}
        self.log, self.lock = Log(), threading.Lock()
        self.faults, self.etag, self.gate = deque(faults), etag, gate

    def publish(self, repository, commit, files, *, revisions=("main",)):
        """Answer for a dataset as the hub does. Files are {name: (size, sha256)}."""
        siblings = [
            {
                "rfilename": name,
                "size": size,
                "blobId": "b" * 40,
                "lfs": {"size": size, "sha256": sha256, "pointerSize": 134},
            }
            for name, (size, sha256) in files.items()
        ]
        answer = {"id": repository, "sha": commit, "siblings": siblings, "tags": []}
        for revision in revisions:
            self.documents[f"/api/datasets/{repository}/revision/{revision}"] = (200, {}, answer)

    def publish_model(self, repository, revision, files, *, hashed=True):
        """Answer for one more revision of a model as the hub does, and serve its files {name: bytes}.

        Returns the commit, which depends on the files and on nothing else. `hashed=False` publishes no hash of any.
        """
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        blobs = {name: hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest() for name, text in files.items()}
        commit = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:40]
        siblings, tree = [], []
        for name, content in files.items():
            size, large = len(content), hashed and name.endswith((".safetensors", ".bin"))
            siblings.append({"rfilename": name, "size": size, "blobId": blobs[name]})
            tree.append({"type": "file", "path": name, "size": size, "oid": blobs[name]})
            if large:
                siblings[-1]["lfs"] = {"size": size, "sha256": hashes[name], "pointerSize": 134}
                tree[-1]["lfs"] = {"size": size, "oid": hashes[name], "pointerSize": 134}
            path = f"/{repository}/resolve/{commit}/{name}"
            self.files[path], self.sizes[path] = content, size
            etag = hashes[name] if large else blobs[name]
            self.headers[path] = {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}
        about = f"/api/models/{repository}"
        answer = {"id": repository, "sha": commit, "siblings": siblings, "tags": []}
        for name in (revision, commit):
            self.documents[f"{about}/revision/{name}"] = (200, {}, answer)
        self.documents[f"{about}/tree/{commit}"] = (200, {}, tree)
        refs = self.documents.setdefault(f"{about}/refs", (200, {}, {"branches": [], "converts": [], "tags": []}))
        refs[2]["branches"].append({"name": revision, "ref": f"refs/heads/{revision}", "targetCommit": commit})
        return commit

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def read(self, path, start, stop):
        content = self.files[path]
        if isinstance(content, Path):
            with content.open("rb") as file:
                file.seek(start)
                return file.read(stop - start)
        return content[start:stop]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            super().handle_error(request, client_address)

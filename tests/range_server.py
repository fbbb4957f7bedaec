"""The hub, or a web server, on this machine: it serves documents and ranges, keeps a log, and misbehaves on demand.

It answers as the real hub does: large files lie behind a redirect to storage on another host, under an address that is
signed for one request and refuses who brings a token along; small ones behind a redirect within the hub; every answer
tells the rate limit. `failing` lets the first request for each thing fail.
"""

import contextlib
import hashlib
import http.server
import json
import re
import secrets
import sys
import threading
import urllib.parse
from collections import deque
from dataclasses import dataclass, field, fields
from pathlib import Path

from foundation.web import Patience

LARGE = (".bin", ".safetensors", ".npy", ".parquet", ".csv")
RATE_LIMIT = {"RateLimit": '"api";r=499;t=300', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}


@dataclass
class Log:
    """What was asked and sent.

    Attributes:
        ranges: (path, first byte, stop byte, bytes sent) of every request for a file that was answered, or failed, at
            the host that has it.
        heads: paths of all HEADs.
        headers: of every request for a file to the hub, or the web server.
        storage_headers: of every request to the hub's storage.
        documents: addresses of the documents that were asked for.
        failed: (address, status) of the requests that `failing` let fail; 0 is a connection that was dropped.
    """

    ranges: list = field(default_factory=list)
    heads: list = field(default_factory=list)
    headers: list = field(default_factory=list)
    storage_headers: list = field(default_factory=list)
    documents: list = field(default_factory=list)
    failed: list = field(default_factory=list)

    @property
    def bytes_sent(self):
        return sum(sent for *_, sent in self.ranges)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        if self.server.gone:
            return self.hang_up()
        self.server.log.heads.append(self.path)
        if self.path not in self.server.sizes:
            return self.answer(404)
        size = self.server.said_sizes.get(self.path, self.server.sizes[self.path])
        return self.answer(200, {"Content-Length": size} | self.file_headers())

    def do_GET(self):
        if self.server.gone:
            return self.hang_up()
        self.path = address = urllib.parse.unquote(self.path.partition("?")[0])
        if self.fails_at_first(self.server.failing):
            return
        if address in self.server.documents:
            code, headers, content = self.server.documents[address]
            body = json.dumps(content).encode()
            self.server.log.documents.append(address)
            headers = {**RATE_LIMIT, **headers, "Content-Length": len(body), "Content-Type": "application/json"}
            self.answer(code, headers)
            self.wfile.write(body)
            return
        if address.startswith(("/api/models/", "/api/datasets/")):
            return self.lack(address)
        self.server.log.headers.append(self.headers)
        if "/resolve/" in address and address in self.server.sizes:
            return self.redirect(address)
        self.path = address.removeprefix(RESOLVED)
        self.serve_file()

    def lack(self, address):
        """Say that there is no such repository, or that it has no such revision."""
        about = address.partition("/revision/")[0]
        known = any(document.startswith(f"{about}/") for document in self.server.documents)
        status, code = (404, "RevisionNotFound") if known else (401, "RepoNotFound")
        self.answer(status, RATE_LIMIT | {"X-Error-Code": code, "Content-Length": 0})

    def redirect(self, address):
        """Tell where a file of a repository is: large ones in the storage, under a signed address."""
        commit = address.partition("/resolve/")[2].partition("/")[0]
        told = {"X-Repo-Commit": commit, "X-Linked-Size": self.server.sizes[address], "Content-Length": 0}
        if address.endswith(LARGE):
            return self.answer(302, told | {"Location": self.server.storage.sign(address)})
        self.answer(307, told | {"Location": RESOLVED + urllib.parse.quote(address)})

    def fails_at_first(self, faults):
        """Let a request fail where it is the first for its address, and one of the others is the next fault."""
        with self.server.lock:
            if not faults or (type(self), self.path) in self.server.seen:
                return False
            self.server.seen.add((type(self), self.path))
            status = faults[len(self.server.seen) % len(faults)]
            self.server.log.failed.append((self.path, status))
        if status == 0:
            self.hang_up()
        else:
            limit = RATE_LIMIT | ({"RateLimit": '"api";r=0;t=0'} if status == 429 else {})
            self.answer(status, {"Content-Length": 0} | limit)
        return True

    def serve_file(self):
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


RESOLVED = "/api/resolve-cache"


class StorageHandler(Handler):
    """The host that the hub sends those to who ask for large files."""

    def do_GET(self):
        if self.server.gone:
            return self.hang_up()
        address, _, query = self.path.partition("?")
        self.server.log.storage_headers.append(self.headers)
        signature = urllib.parse.parse_qs(query).get("Signature", [""])[0]
        self.path = urllib.parse.unquote(address)
        if "Authorization" in self.headers:
            return self.answer(400, {"Content-Length": 0})
        if not self.server.spend(self.path, signature):
            return self.answer(403, {"Content-Length": 0})
        if not self.fails_at_first(self.server.storage_failing):
            self.serve_file()


class Storage(http.server.ThreadingHTTPServer):
    """The hub's storage: the hub's files, each request under a signature of its own."""

    daemon_threads = True

    def __init__(self, hub):
        super().__init__(("127.0.0.1", 0), StorageHandler)
        self.hub, self.signatures = hub, {}

    def __getattr__(self, name):
        return getattr(self.hub, name)

    def sign(self, address):
        """The address of a file for the next request."""
        signature = secrets.token_hex(8)
        self.signatures[signature] = address
        port = self.server_address[1]
        return f"http://127.0.0.1:{port}{urllib.parse.quote(address)}?Expires=1&Signature={signature}"

    def spend(self, address, signature):
        """Whether a signature is right; it is right once."""
        return self.signatures.pop(signature, None) == address

    def handle_error(self, request, client_address):
        self.hub.handle_error(request, client_address)


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
        if "Range" in handler.headers:
            handler.answer(206, handler.range_headers(start, stop))
        else:
            handler.answer(200, {"Content-Length": stop - start} | handler.file_headers())
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


def be_the_hub(monkeypatch, url):
    """Let the hub be at an address, as HF_ENDPOINT does, and be asked."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


def be_impatient(monkeypatch, **others):
    """Let whatever asks a server wait hardly at all between its tries."""
    changed = {"first_delay_s": 0.01, "longest_delay_s": 0.02, **others}
    defaults = (changed.get(each.name, each.default) for each in fields(Patience))
    monkeypatch.setattr(Patience.__init__, "__defaults__", tuple(defaults))


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
        self.failing, self.storage_failing, self.seen = [], [], set()
        self.storage, self.gone = Storage(self), False

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

    def publish_tables(self, repository, files, *, configs=None, revision="main"):
        """Answer for a dataset of small tables {name: bytes}, with what its card says of them, and serve them."""
        hashes = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()}
        commit = hashlib.sha256(json.dumps([revision, hashes]).encode()).hexdigest()[:40]
        self.publish(repository, commit, hashes, revisions=(revision, commit))
        self.documents[f"/api/datasets/{repository}/revision/{revision}"][2]["cardData"] = {"configs": configs}
        for name, content in files.items():
            path = f"/datasets/{repository}/resolve/{commit}/{name}"
            self.files[path], self.sizes[path] = content, len(content)
        return commit

    def publish_model(self, repository, revision, files, *, hashed=True):
        """Answer for one more revision of a model as the hub does, and serve its files {name: bytes}.

        Returns the commit, which depends on the files and on nothing else. `hashed=False` publishes no hash of any.
        """
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        commit = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:40]
        siblings, tree = [], []
        for name, content in files.items():
            size, large = len(content), hashed and name.endswith((".safetensors", ".bin"))
            git = hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False).hexdigest()
            siblings.append({"rfilename": name, "size": size, "blobId": git})
            tree.append({"type": "file", "path": name, "size": size, "oid": git})
            if large:
                siblings[-1]["lfs"] = {"size": size, "sha256": hashes[name], "pointerSize": 134}
                tree[-1]["lfs"] = {"size": size, "oid": hashes[name], "pointerSize": 134}
            path = f"/{repository}/resolve/{commit}/{name}"
            self.files[path], self.sizes[path] = content, size
            etag = hashes[name] if large else git
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
        for server in (self, self.storage):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.go_away()

    def go_away(self):
        """Answer no more, on no connection, as where there is no network."""
        self.gone = True
        for server in (self, self.storage):
            server.shutdown()
            server.server_close()

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            super().handle_error(request, client_address)

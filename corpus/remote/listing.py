"""Which remote files make up a corpus: their addresses, sizes and versions, from the hub or from any web server."""

import hashlib
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import DatasetInfo, HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers

from corpus.byte_source import series_of, shard_names
from corpus.remote.ranges import Passing, RangeClient, asked_wait, is_passing
from foundation import UserError, cache_directory, remember

FIRST_SHARD = "document-00000-of-00020.bin"  # of EleutherAI/pile-{standard,deduped}-pythia-preshuffled

_HUB = re.compile(r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?(/(?P<path>.+))?/?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256, _GIT = "sha256:", "git:"
_TIMEOUT_S = 10


@dataclass(frozen=True)
class RemoteFile:
    """One file.

    Attributes:
        version: what tells it from other contents under the same name: `sha256:` or `git:` and the hub's hash of the
            file, or what a server says (ETag, Last-Modified).
    """

    name: str
    url: str
    size: int
    version: str

    @property
    def has_one_content(self) -> bool:
        """Whether its address can only ever have this content: a hub's, at a commit."""
        return self.version.startswith((_SHA256, _GIT))

    @property
    def sha256(self) -> str | None:
        """The published hash of the file, where its host publishes one."""
        return self.version.removeprefix(_SHA256) if self.version.startswith(_SHA256) else None

    @property
    def content(self) -> str:
        """What the file's bytes depend on. With a hash that is the hash: another revision may have the same file."""
        return self.version if self.sha256 is not None else f"{self.url} {self.version}"


@dataclass(frozen=True)
class Listing:
    """The files of a corpus, in order.

    Attributes:
        revision: the commit that a hub's files were listed at; None elsewhere.
    """

    revision: str | None
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class RemotePlace:
    """A place where a corpus lies, and how to list its files.

    Attributes:
        base: address of the repository, or of the files themselves on a web server.
        revision: branch, tag or commit of the repository; None on a web server.
        path: inside the repository; empty is its top.
        hub: address of the hub; empty for a web server.
        client: reads the files.
        ask: lists the files; asks the server.
        listings: directory of listings that were asked for before.
    """

    base: str
    revision: str | None
    path: str
    hub: str
    client: RangeClient
    ask: Callable[[], Listing]
    listings: Path

    @property
    def location(self) -> str:
        return self.named(self.revision)

    def listing(self) -> Listing:
        """The files; from the server, unless they were listed before at a commit, which never changes.

        Raises:
            UserError: there are none, or not all, or the server cannot be reached.
        """
        known = self.known_listing()
        if known is not None and self.revision is not None and _COMMIT.fullmatch(self.revision):
            return known
        listing = self.ask()
        for revision in {self.revision, listing.revision}:
            remember(self._kept(revision), json.dumps(asdict(listing), indent=1))
        return listing

    def known_listing(self) -> Listing | None:
        """The files as they were listed last; None where they never were. Asks nobody."""
        kept = self._kept(self.revision)
        if not kept.exists():
            return None
        try:
            content = json.loads(kept.read_text())
            return Listing(content["revision"], tuple(RemoteFile(**file) for file in content["files"]))
        except (ValueError, KeyError, TypeError):
            return None  # damaged, or of another version of the kit

    def named(self, revision: str | None) -> str:
        """The place at a revision; None leaves the revision out."""
        return self.base + (f"@{revision}" if revision else "") + (f"/{self.path}" if self.path else "")

    def _kept(self, revision: str | None) -> Path:
        # the hub's address too: a listing holds the addresses of files, and the user's token is sent there
        name = f"{self.hub} {self.named(revision)}"
        return self.listings / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def is_remote(location: str) -> bool:
    """Whether a location is the hub's or a web server's."""
    return "://" in location


def remote_place(
    location: str,
    *,
    revision: str | None,
    listings: Path | None = None,
    client: RangeClient | None = None,
    hub: str | None = None,
) -> RemotePlace:
    """The place that `hf://datasets/OWNER/NAME[@REVISION][/PATH]` or `http(s)://...` names.

    A web address is that of a `.bin`, of any shard of a series, or of the directory in which shards lie under the names
    that Pythia's have.

    Args:
        revision: branch, tag or commit of a hub repository; None is what the location says, or main.
        listings: directory to keep listings in; None is the cache's.
        client: None makes one, with the user's hub token for the hub.
        hub: address of the hub; None is where huggingface_hub looks (HF_ENDPOINT).

    Raises:
        UserError: the location is of no such kind, or the revision is named twice or where there is none.
    """
    listings = listings or cache_directory() / "remote" / "listings"
    if location.startswith(("http://", "https://")):
        if revision is not None:
            raise UserError(f"corpus.revision={revision}, but {location} has no revisions; leave it out")
        _check_address(location)
        web_client = client or RangeClient()
        return RemotePlace(location, None, "", "", web_client, lambda: _ask_server(location, web_client), listings)
    match = _HUB.fullmatch(location)
    if match is None:
        raise UserError(
            f"corpus.location={location} is not understood; take hf://datasets/OWNER/NAME, http(s)://..., or a path"
        )
    if revision is not None and match["revision"] not in (None, revision):
        raise UserError(f"{location} names a revision, corpus.revision={revision} another; name one")
    wanted = revision or match["revision"] or "main"
    repository, path = match["repository"], match["path"] or ""
    hub_client = client or RangeClient(headers=build_hf_headers)
    return RemotePlace(
        f"hf://datasets/{repository}",
        wanted,
        path,
        hub or constants.ENDPOINT,
        hub_client,
        lambda: _ask_hub(repository, wanted, path, hub, hub_client),
        listings,
    )


def check_model_on_hub(name: str, *, remedy: str) -> None:
    """Raise UserError where the hub cannot be reached or has no such model, sooner than the hub's own loaders do."""
    try:
        HfApi().model_info(name, timeout=_TIMEOUT_S)
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{name} is no path, and the hub has no such model or cannot be reached ({type(error).__name__}); {remedy}"
        ) from error


def _check_address(location: str) -> None:
    """Raise UserError where a web address is none, or holds a password: it would stand in run.json."""
    try:
        parts = urlsplit(location)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"corpus.location={location} is no web address ({error})") from None
    if not host:
        raise UserError(f"corpus.location={location} names no host; expected http(s)://HOST/PATH")
    if parts.query or parts.fragment:
        raise UserError(
            f"corpus.location={location.partition('?')[0].partition('#')[0]} goes on with a query or fragment, which "
            f"names no file of a series and may hold a secret; name a plain address"
        )
    if parts.username is not None or parts.password is not None:
        raise UserError(
            f"corpus.location=...@{host} holds a name or password, which run.json would keep; put them into ~/.netrc"
        )


def _ask_hub(repository: str, revision: str, path: str, hub: str | None, client: RangeClient) -> Listing:
    """One request: the commit that `revision` is now, and the name, size and SHA-256 of every file there."""
    where = f"hf://datasets/{repository}@{revision}"

    def ask() -> DatasetInfo:
        try:
            return HfApi(endpoint=hub).dataset_info(
                repository, revision=revision, files_metadata=True, timeout=_TIMEOUT_S
            )
        except HfHubHTTPError as error:
            if not is_passing(error.response.status_code):
                raise
            status, headers = error.response.status_code, error.response.headers
            raise Passing(f"the hub answered {status}", wait_s=asked_wait(headers)) from error

    try:
        info = client.retrying(where, ask)
    except UserError:
        raise
    except GatedRepoError:
        raise UserError(f"{where} asks for a consent; give it on its page and log in (HF_TOKEN)") from None
    except RevisionNotFoundError:
        raise UserError(f"{where}: there is no such revision; check corpus.revision") from None
    except RepositoryNotFoundError:
        raise UserError(f"{where}: there is no such dataset, or it is private; check the name or log in") from None
    except OfflineModeIsEnabled:
        raise UserError(
            f"{where} has to be asked for, but HF_HUB_OFFLINE is set; unset it, or set corpus.revision to the commit "
            f"that was fetched (run.json names it)"
        ) from None
    except (httpx2.HTTPError, OSError, ValueError, TypeError) as error:  # the last two where another answers for it
        raise UserError(
            f"{where} cannot be reached ({type(error).__name__}); check the network, set corpus.location to a local "
            f"copy or a mirror, or corpus.revision to a commit that was fetched before"
        ) from error
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    if path.endswith(".bin"):
        names = [str(PurePosixPath(path).with_name(name)) for name in series_of(PurePosixPath(path).name)]
    else:
        prefix = f"{path.rstrip('/')}/" if path else ""
        here = (name.removeprefix(prefix) for name in siblings if name.startswith(prefix))
        names = [prefix + name for name in shard_names((name for name in here if "/" not in name), where=where)]
    files = []
    for name in names:
        sibling = siblings.get(name)
        if sibling is None or sibling.size is None:
            raise UserError(f"{where} holds no file {name}; check the location")
        url = hf_hub_url(repository, name, repo_type="dataset", revision=info.sha, endpoint=hub)
        version = f"{_SHA256}{sibling.lfs.sha256}" if sibling.lfs is not None else f"{_GIT}{sibling.blob_id}"
        files.append(RemoteFile(name, url, sibling.size, version))
    return Listing(info.sha, tuple(files))


def _ask_server(location: str, client: RangeClient) -> Listing:
    """One HEAD request for each file."""
    base, _, name = location.rpartition("/") if location.endswith(".bin") else (location.rstrip("/"), "", FIRST_SHARD)
    names = series_of(name)
    urls = [f"{base}/{name}" for name in names]
    first = client.describe(urls[0])  # alone, so that a host that cannot be reached is asked once
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = [first, *pool.map(client.describe, urls[1:])]
    files = zip(names, urls, answers, strict=True)
    return Listing(None, tuple(RemoteFile(name, url, size, version) for name, url, (size, version) in files))

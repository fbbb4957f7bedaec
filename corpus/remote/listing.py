"""Which remote files make up a corpus: their addresses, sizes and versions, from the hub or from any web server."""

import hashlib
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

from corpus.byte_source import series_of, shard_names
from foundation import UserError, cache_directory, read_kept, write_kept
from foundation.hub import Listing as HubListing
from foundation.hub import NoRevision, Repository, is_repository_name, known_files, list_files, named_model
from foundation.web import Client, OutOfReach

log = logging.getLogger(__name__)

FIRST_SHARD = "document-00000-of-00020.bin"  # of EleutherAI/pile-{standard,deduped}-pythia-preshuffled

_HUB = re.compile(r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?(/(?P<path>.+))?/?")
_PAGE = re.compile(
    r"https?://(www\.)?(huggingface\.co|hf\.co)/datasets/(?P<repository>[^/]+/[^/?#]+)"
    r"(/(tree|blob|resolve)/(?P<revision>[^/?#]+)(/(?P<path>[^?#]+))?)?/?([?#].*)?"
)
_SHA256, _GIT = "sha256:", "git:"


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
    """The files of a corpus in order, and the commit they are of, where there is one."""

    revision: str | None
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class RemotePlace(Protocol):
    """A place where a corpus lies."""

    @property
    def location(self) -> str:
        """Its address, with the revision that is asked for."""

    @property
    def base(self) -> str:
        """Its address without a revision."""

    @property
    def client(self) -> Client:
        """What reads the files."""

    def listing(self) -> Listing:
        """The files; as they were listed before, where the server cannot be reached.

        Raises:
            UserError: there are none, or not all, or the server cannot be reached and never was.
        """

    def known_listing(self) -> Listing | None:
        """The files as they were listed last; None where they never were. Asks nobody."""


@dataclass(frozen=True)
class HubPlace:
    """A dataset of the hub, or a folder of one.

    Attributes:
        revision: branch, tag or commit.
        path: inside the repository: a folder, or a shard; empty is its top.
    """

    repository: Repository
    revision: str
    path: str

    @property
    def location(self) -> str:
        return self._named(f"@{self.revision}")

    @property
    def base(self) -> str:
        return self._named("")

    @property
    def client(self) -> Client:
        return self.repository.client

    def listing(self) -> Listing:
        try:
            listing = list_files(self.repository, self.revision)
        except NoRevision as error:
            raise UserError(f"{error}; check corpus.revision") from None
        except OutOfReach as error:
            raise OutOfReach(
                f"{self.location} cannot be reached ({error.reason}); check the network, fetch the corpus where "
                f"there is one (python -m corpus.fetch), or set corpus.location to a local copy"
            ) from error
        if listing.unreachable is not None:
            log.info("%s: taking commit %s, as it was when it was fetched", self.location, listing.commit)
        return self._corpus(listing)

    def known_listing(self) -> Listing | None:
        known = known_files(self.repository, self.revision)
        try:
            return None if known is None else self._corpus(known)
        except UserError:  # what the hub's cache holds of it is no corpus
            return None

    def _named(self, revision: str) -> str:
        return f"{self.repository}{revision}" + (f"/{self.path}" if self.path else "")

    def _corpus(self, listing: HubListing) -> Listing:
        """Those of the repository's files that are the corpus."""
        if self.path.endswith(".bin"):
            path = PurePosixPath(self.path)
            names = [str(path.with_name(name)) for name in series_of(path.name)]
        else:
            prefix = f"{self.path.rstrip('/')}/" if self.path else ""
            here = (name.removeprefix(prefix) for name in listing.files if name.startswith(prefix))
            names = [prefix + name for name in shard_names((n for n in here if "/" not in n), where=self.location)]
        files = []
        for name in names:
            if (file := listing.files.get(name)) is None:
                raise UserError(f"{self.location} holds no file {name}; check the location")
            version = f"{_SHA256}{file.sha256}" if file.sha256 is not None else f"{_GIT}{file.blob}"
            files.append(RemoteFile(name, self.repository.address(name, listing.commit), file.size, version))
        return Listing(listing.commit, tuple(files))


@dataclass(frozen=True)
class WebPlace:
    """Files on a web server, which has no revisions.

    Attributes:
        location: of a `.bin`, of a shard, or of the directory in which shards lie under the names that Pythia's have.
        listings: directory of listings that were asked for before.
    """

    location: str
    listings: Path
    client: Client = field(default_factory=Client)

    @property
    def base(self) -> str:
        return self.location

    def listing(self) -> Listing:
        try:
            listing = self._ask()
        except OutOfReach:
            if (known := self.known_listing()) is None:
                raise
            return known
        write_kept(self._kept, asdict(listing))
        return listing

    def known_listing(self) -> Listing | None:
        content = read_kept(self._kept)
        try:
            files = content and tuple(RemoteFile(**file) for file in content["files"])
            return Listing(content["revision"], files) if content and files else None
        except (LookupError, TypeError):
            return None  # of another version of the kit

    @property
    def _kept(self) -> Path:
        return self.listings / f"{hashlib.sha256(self.location.encode()).hexdigest()[:16]}.json"

    def _ask(self) -> Listing:
        """One HEAD request for each file."""
        merged = self.location.endswith(".bin")
        base, _, name = self.location.rpartition("/") if merged else (self.location.rstrip("/"), "", FIRST_SHARD)
        names = series_of(name)
        urls = [f"{base}/{name}" for name in names]
        first = self.client.describe(urls[0])  # alone, so that a host that cannot be reached is asked once
        with ThreadPoolExecutor(max_workers=8) as pool:
            answers = [first, *pool.map(self.client.describe, urls[1:])]
        files = zip(names, urls, answers, strict=True)
        return Listing(None, tuple(RemoteFile(name, url, size, version) for name, url, (size, version) in files))


def is_remote(location: str) -> bool:
    """Whether a location is the hub's or a web server's."""
    return "://" in location


def remote_place(
    location: str, *, revision: str | None, listings: Path | None = None, client: Client | None = None
) -> RemotePlace:
    """The place that `hf://datasets/OWNER/NAME[@REVISION][/PATH]`, the address of its page, or `http(s)://...` names.

    Args:
        revision: branch, tag or commit of a hub repository; None is what the location says, or main.
        listings: directory to keep listings of web servers in; None is the cache's.
        client: what asks a web server.

    Raises:
        UserError: the location is of no such kind, or the revision is named twice or where there is none.
    """
    match = _PAGE.fullmatch(location) or _HUB.fullmatch(location)
    if match is not None:
        if revision is not None and match["revision"] not in (None, revision):
            raise UserError(f"{location} names a revision, corpus.revision={revision} another; name one")
        wanted = revision or unquote(match["revision"] or "main")
        return HubPlace(Repository(match["repository"], "dataset"), wanted, unquote(match["path"] or ""))
    if (model := named_model(location)) is not None and is_repository_name(model[0]):
        raise UserError(
            f"corpus.location={location} is a model of the hub; for its dataset of that name take "
            f"hf://datasets/{model[0]}"
        )
    if not location.startswith(("http://", "https://")):
        raise UserError(
            f"corpus.location={location} is not understood; take hf://datasets/OWNER/NAME, http(s)://..., or a path"
        )
    if revision is not None:
        raise UserError(f"corpus.revision={revision}, but {location} has no revisions; leave it out")
    _check_address(location)
    return WebPlace(location, listings or cache_directory() / "remote" / "listings", client or Client())


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

"""Repositories of the hub: what they hold at a revision, and their files in the hub's own cache.

A listing is asked for once in a process, and kept: without the hub the files are those that it named when it was last
asked. Files are fetched at a commit, go on where they broke off, and are held against the published hashes before they
get their name. Others' programs find them where `huggingface_hub` would have put them.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import build_hf_headers
from tqdm import tqdm

from foundation.cache import cache_directory, remember
from foundation.errors import UserError
from foundation.files import named_in_errors
from foundation.kept import read_kept, write_kept
from foundation.locks import exclusive
from foundation.web import Client, OutOfReach, Refused
from foundation.wording import size_text

log = logging.getLogger(__name__)

Kind = Literal["model", "dataset"]

COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_MODEL = re.compile(
    r"(hf://|https?://(www\.)?(huggingface\.co|hf\.co)/)(?!datasets/|spaces/)(?P<name>[^@?#]*?)"
    r"(/?@|/(tree|blob|resolve)/|(?=[?#])|$)(?P<revision>[^/?#]+)?([/?#].*)?"
)
_FILES_AT_ONCE = 4
_READ_BYTES = 1 << 20

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True)
class HubFile:
    """One file of a repository.

    Attributes:
        size: in bytes.
        sha256: as the hub publishes it, which it does for large files.
        blob: git's hash of a file that is not a large one.
    """

    size: int
    sha256: str | None = None
    blob: str = ""


@dataclass(frozen=True)
class Listing:
    """The files of a revision.

    Attributes:
        commit: that the revision is.
        files: by name.
        configs: of a dataset: which files are which split, as its card says.
        unreachable: why the hub could not be asked just now; None where it was, or need not be.
        revision: the branch or tag that the hub just said is this commit; None where it was not asked for one.
    """

    commit: str
    files: dict[str, HubFile]
    configs: list[dict[str, Any]] = field(default_factory=list)
    unreachable: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Repository:
    """A repository of the hub.

    Attributes:
        name: OWNER/NAME.
    """

    name: str
    kind: Kind = "model"

    def __str__(self) -> str:
        return f"hf://datasets/{self.name}" if self.kind == "dataset" else self.name

    @property
    def client(self) -> Client:
        """What asks the hub, with the user's token.

        Raises:
            OutOfReach: HF_HUB_OFFLINE forbids it.
        """
        if constants.HF_HUB_OFFLINE:
            raise OutOfReach(
                f"{self} is not all in the cache, and HF_HUB_OFFLINE is set; unset it where there is a network, and "
                f"fetch there what the run needs (python -m corpus.fetch)",
                reason="HF_HUB_OFFLINE is set",
            )
        return Client(headers=build_hf_headers)

    def address(self, name: str, commit: str) -> str:
        """Where the hub serves a file."""
        prefix = "datasets/" if self.kind == "dataset" else ""
        return f"{constants.ENDPOINT}/{prefix}{self.name}/resolve/{commit}/{quote(name)}"

    @property
    def folder(self) -> Path:
        """The repository's place in the hub's cache."""
        return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.name, repo_type=self.kind)


def is_repository_name(text: str) -> bool:
    """Whether a text can be OWNER/NAME."""
    return _NAME.fullmatch(text) is not None


def named_model(location: str) -> tuple[str, str | None] | None:
    """OWNER/NAME and the revision that hf://OWNER/NAME[@REVISION], or the address of a model's page, names."""
    match = _MODEL.fullmatch(location)
    return None if match is None else (match["name"].removesuffix("/"), match["revision"])


class NoRevision(UserError):
    """The repository is there, the revision is not."""


_listings: dict[tuple[str, Repository, str], Listing] = {}
_branches: dict[tuple[str, Repository], list[str]] = {}


def forget_listings() -> None:
    """Let every repository count as never asked for in this process."""
    _listings.clear()
    _branches.clear()


def list_files(repository: Repository, revision: str) -> Listing:
    """The files of a revision: from the hub, once in a process; else as they were when it was last asked.

    Raises:
        NoRevision: the repository has no such revision.
        OutOfReach: the hub cannot be asked, and never was before.
        UserError: there is no such repository, it asks for a consent, or has another name now.
    """
    key = (constants.ENDPOINT, repository, revision)
    if key not in _listings:
        _listings[key] = _asked_or_known(repository, revision)
    return _listings[key]


def known_files(repository: Repository, revision: str) -> Listing | None:
    """The files as they were when the hub was last asked, or as they lie in its cache; None where there is neither."""
    return _listings.get((constants.ENDPOINT, repository, revision)) or (
        _kept(repository, revision) or _listed_by_cache(repository, revision)
    )


def list_branches(repository: Repository) -> list[str] | None:
    """Names of a repository's branches: asked for once in a process, else as they last were; None: it is not known."""
    key = (constants.ENDPOINT, repository)
    if key not in _branches:
        memory = _memory(repository, "refs")
        try:
            content = _document(repository, f"/api/{repository.kind}s/{_checked_name(repository)}/refs")
            _branches[key] = sorted(branch["name"] for branch in content["branches"])
            write_kept(memory, {"branches": _branches[key]})
        except (UserError, LookupError, TypeError):
            kept = read_kept(memory)
            if kept is None:
                return None
            _branches[key] = list(kept["branches"])
    return _branches[key]


def find_file(repository: Repository, name: str, listing: Listing) -> Path | None:
    """A file in the hub's cache; None where it is not there, or not whole."""
    path = repository.folder / "snapshots" / listing.commit / name
    try:
        whole = path.stat().st_size == listing.files[name].size
    except OSError:  # it is not there, or a link that leads nowhere
        return None
    return path if whole else None


def lacking_files(repository: Repository, listing: Listing, names: Sequence[str]) -> list[str]:
    """Those of some files that are not in the hub's cache."""
    return [name for name in names if find_file(repository, name, listing) is None]


def left_bytes(repository: Repository, listing: Listing, names: Sequence[str]) -> int:
    """Bytes of some files that are still to come: not what the hub's cache holds of them, nor what came of a part."""
    return sum(
        max(0, listing.files[name].size - _size(_partial(_blob(repository, listing, name))))
        for name in lacking_files(repository, listing, names)
    )


def fetch_files(
    repository: Repository,
    listing: Listing,
    names: Sequence[str],
    *,
    where: str,
    licence: str = "licence: as its page says",
    remedy: str = "check the network, or set HF_HOME to a cache that holds it",
    progress: bool = True,
) -> Path:
    """Fetch those of some files that the hub's cache does not hold; the directory where all of them lie.

    Args:
        where: what the revision is called in messages.
        licence: told with what is fetched.
        remedy: what to do where the hub cannot be reached.

    Raises:
        UserError: the hub cannot be reached, the disk has no room, or what came is not what the hub publishes.
    """
    lacking = lacking_files(repository, listing, names)
    _keep_reference(repository, listing)
    directory = repository.folder / "snapshots" / listing.commit
    if not lacking:
        return directory
    if listing.unreachable is not None:
        raise OutOfReach(
            f"{where} cannot be reached ({listing.unreachable}), and the cache holds it only in part ({lacking[0]} is "
            f"missing or cut short); {remedy}"
        )
    size = sum(listing.files[name].size for name in lacking)
    _check_room(where, left_bytes(repository, listing, lacking))
    place = constants.HF_HUB_CACHE
    count = f"{len(lacking)} file{'s' * (len(lacking) != 1)}"
    log.info("fetching %s (%s): %s, %s, into %s", where, licence, count, size_text(size), place)
    hidden = None if progress else True
    with tqdm(total=size, desc=where, unit="B", unit_scale=True, disable=hidden, leave=False) as bar:
        _fetch_all(repository, listing, lacking, where=where, bar=bar)
    return directory


def fetch_tokenizer(name: str, *, remedy: str) -> Path:
    """A directory with the tokenizer of a model of the hub.

    Raises:
        UserError: there is none, or it is neither cached nor can it be fetched.
    """
    repository = Repository(name)
    try:
        listing = list_files(repository, "main")
    except OutOfReach as error:
        raise OutOfReach(
            f"the tokenizer {name} is neither cached nor can the hub be asked ({error.reason}); {remedy}"
        ) from error
    names = [file for file in (*TOKENIZER_FILES, "config.json") if file in listing.files]
    if "tokenizer.json" not in names:
        raise UserError(f"{name} on the hub holds no tokenizer.json; {remedy}")
    return fetch_files(repository, listing, names, where=f"the tokenizer {name}", remedy=remedy)


def _checked_name(repository: Repository) -> str:
    if not _NAME.fullmatch(repository.name):
        raise UserError(f"{repository.name} is no name of a repository; expected OWNER/NAME, as EleutherAI/pythia-70m")
    return repository.name


def _asked_or_known(repository: Repository, revision: str) -> Listing:
    kept = _kept(repository, revision)
    if kept is not None and COMMIT.fullmatch(revision):
        return kept
    try:
        listing = _ask(repository, revision)
    except OutOfReach as error:
        known = kept or _listed_by_cache(repository, revision)
        if known is None:
            raise
        log.debug("%s@%s: %s; taking commit %s", repository, revision, error, known.commit)
        return Listing(known.commit, known.files, known.configs, unreachable=error.reason)
    content = {key: value for key, value in asdict(listing).items() if key not in ("unreachable", "revision")}
    for name in {revision, listing.commit}:
        write_kept(_memory(repository, name), content)
    return listing


def _ask(repository: Repository, revision: str) -> Listing:
    """One request to the hub."""
    path = f"/api/{repository.kind}s/{_checked_name(repository)}/revision/{quote(revision, safe='')}?blobs=true"
    content = _document(repository, path, revision=revision)
    try:
        commit, found = content["sha"], content["id"]
        files = {
            file["rfilename"]: HubFile(file["size"] or 0, (file.get("lfs") or {}).get("sha256"), file["blobId"] or "")
            for file in content["siblings"]
        }
        configs = (content.get("cardData") or {}).get("configs") or []
    except (LookupError, TypeError, AttributeError) as error:
        raise OutOfReach(f"{constants.ENDPOINT} answers, but not as the hub does") from error
    if not COMMIT.fullmatch(str(commit)):
        raise OutOfReach(f"{constants.ENDPOINT} names no commit")
    if found != repository.name:
        raise UserError(
            f"{repository} is called {found} now, which may be another {repository.kind} than was meant; name that one"
        )
    return Listing(commit, files, configs, revision=None if COMMIT.fullmatch(revision) else revision)


def _document(repository: Repository, path: str, *, revision: str | None = None) -> Any:
    """What the hub answers, as JSON."""
    name, kind = repository.name, repository.kind
    try:
        return json.loads(repository.client.get(f"{constants.ENDPOINT}{path}"))
    except ValueError as error:
        if not isinstance(error, UserError):
            raise OutOfReach(f"{constants.ENDPOINT} answers, but not as the hub does") from error
        if not isinstance(error, Refused):
            raise
        if error.code == "GatedRepo":
            raise UserError(f"{repository} asks for a consent; give it on its page and log in (HF_TOKEN)") from None
        if error.code == "RevisionNotFound":
            raise NoRevision(f"{repository} has no revision {revision}") from None
        if error.code and error.status in (401, 403, 404):
            raise UserError(
                f"the hub has no {kind} {name}, or it is private; check the name, or log in (HF_TOKEN)"
            ) from None
        reason = (
            f"it answered {error.status}, and not for a reason of the hub's: check HF_TOKEN, HF_ENDPOINT and proxies"
        )
        raise OutOfReach(f"{constants.ENDPOINT}: {reason}", reason=reason) from error


def _memory(repository: Repository, revision: str) -> Path:
    # the hub's address too: the user's token is sent there
    name = f"{constants.ENDPOINT} {repository}@{revision}"
    return cache_directory() / "hub" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def _kept(repository: Repository, revision: str) -> Listing | None:
    """The files as the hub last listed them."""
    content = read_kept(_memory(repository, revision))
    try:
        if content is None:
            return None
        files = {name: HubFile(**file) for name, file in content["files"].items()}
        return Listing(content["commit"], files, content.get("configs") or [])
    except (LookupError, TypeError, AttributeError):
        return None  # of another version of the kit


def _listed_by_cache(repository: Repository, revision: str) -> Listing | None:
    """The files of a revision that another program fetched; the hub's cache calls large ones by their hash.

    A file that is not there, as where its link leads nowhere, is not listed.
    """
    refs = repository.folder / "refs" / revision
    commit = revision if COMMIT.fullmatch(revision) else refs.read_text().strip() if refs.is_file() else None
    directory = repository.folder / "snapshots" / (commit or "")
    if commit is None or not directory.is_dir():
        return None
    files = {}
    for path in directory.rglob("*"):
        if path.is_file():
            blob = path.resolve().name
            sha256 = blob if _SHA256.fullmatch(blob) else None
            git = blob if COMMIT.fullmatch(blob) else ""
            files[path.relative_to(directory).as_posix()] = HubFile(path.stat().st_size, sha256, git)
    return Listing(commit, files) if files else None


def _check_room(where: str, size: int) -> None:
    place = existing_directory(Path(constants.HF_HUB_CACHE))
    free = shutil.disk_usage(place).free
    if size > free:
        raise UserError(
            f"{where} takes {size_text(size)}, but {size_text(free)} are free in {constants.HF_HUB_CACHE}; make room, "
            f"or set HF_HOME to a place with more"
        )


def existing_directory(place: Path) -> Path:
    """The directory, or the nearest above it that there is: it tells the disk."""
    return next(directory for directory in (place, *place.absolute().parents) if directory.is_dir())


def _fetch_all(repository: Repository, listing: Listing, names: Sequence[str], *, where: str, bar: "tqdm[Any]") -> None:
    """Fetch files, several at a time; when one fails the others stop where they are, and go on from there next time."""
    stopped = threading.Event()

    def fetch(name: str) -> None:
        if stopped.is_set():
            raise _Stopped
        try:
            _fetch_file(repository, listing, name, where=where, bar=bar, stopped=stopped)
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(max_workers=_FILES_AT_ONCE) as pool:
        fetches = [pool.submit(fetch, name) for name in names]
        try:
            wait(fetches)
        except BaseException:
            stopped.set()
            raise
    errors = [error for each in fetches if (error := each.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, _Stopped)):
        if isinstance(error, OutOfReach):
            raise OutOfReach(
                f"{where} did not come wholly ({error.reason}); what has come is kept: check the network, and give the "
                f"same command again"
            ) from error
        raise error


class _Stopped(Exception):
    """Another file failed."""


def _fetch_file(
    repository: Repository,
    listing: Listing,
    name: str,
    *,
    where: str,
    bar: "tqdm[Any]",
    stopped: threading.Event,
) -> None:
    """Bring one file, whole and as published, under its name."""
    file, blob = listing.files[name], _blob(repository, listing, name)
    partial = _partial(blob)
    lock = Path(constants.HF_HUB_CACHE, ".locks", repository.folder.name, f"{blob.name}.lock")  # huggingface_hub's own
    blob.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(lock, wait=True):
        if not (blob.is_file() and blob.stat().st_size == file.size):
            if _size(partial) > file.size:
                partial.unlink()
            found = _size(partial)
            bar.update(found)
            url = repository.address(name, listing.commit)
            with named_in_errors(partial), partial.open("ab") as aside:
                for piece in repository.client.stream(url, found, file.size, size=file.size, whole=True):
                    if stopped.is_set():
                        raise _Stopped
                    aside.write(piece)
                    bar.update(len(piece))
            _check_content(partial, file, what=f"{name} of {where}")
            partial.replace(blob)
        _link(repository.folder / "snapshots" / listing.commit / name, blob)


def _blob(repository: Repository, listing: Listing, name: str) -> Path:
    """Where the hub's cache keeps a file's content."""
    file = listing.files[name]
    content = file.sha256 or file.blob or hashlib.sha256(f"{listing.commit} {name}".encode()).hexdigest()
    return repository.folder / "blobs" / content


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.partial")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _keep_reference(repository: Repository, listing: Listing) -> None:
    """Note which commit a branch or tag is, where others' programs look for it."""
    if listing.revision is None:
        return
    reference = repository.folder / "refs" / listing.revision
    if not reference.is_file() or reference.read_text().strip() != listing.commit:
        remember(reference, listing.commit)


def _check_content(partial: Path, file: HubFile, *, what: str) -> None:
    """Remove what was fetched, and raise UserError, where it is not what the hub publishes."""
    expected = file.sha256 or file.blob
    if not expected:
        return
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with partial.open("rb") as content:
        while piece := content.read(_READ_BYTES):
            digest.update(piece)
    if digest.hexdigest() != expected:
        partial.unlink()
        algorithm = "sha256" if file.sha256 else "git hash"
        raise UserError(
            f"{what} has {algorithm} {digest.hexdigest()[:16]}…, published is {expected[:16]}…; it came damaged and is "
            f"removed: give the same command again, which fetches it anew"
        )


def _link(path: Path, blob: Path) -> None:
    """Let a file of the snapshot be a blob, as in the hub's cache: a link to it, or itself where the disk has none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    try:
        aside.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:
        blob.replace(path)
    else:
        aside.replace(path)

"""Revisions of models on the hub: fetched at a commit, checked against the published hashes, usable without the hub.

The hub's own loaders check the size of what they fetch and nothing else, take minutes to notice that there is no
network, and cannot know that a step serves another step's weights.
"""

import hashlib
import json
import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.utils import tqdm

from foundation import UserError, cache_directory, remember
from training.checkpoint import check_step
from training.published import FINAL_STEP, STEPS, UNMOVED_STEPS, check_not_v0
from training.weights import choose_weights, remembered_sha256

log = logging.getLogger(__name__)

_TIMEOUT_S = 5
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WEIGHTS = re.compile(r"(model|pytorch_model)(-\d{5}-of-\d{5})?\.(safetensors|bin)")
_SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
_REMEDY = (
    "check the network, set HF_ENDPOINT to a mirror or HF_HOME to a cache that holds it, or name a local directory of "
    "step<N> checkpoints"
)


@dataclass(frozen=True)
class FetchedRevision:
    """A revision of a model on this machine.

    Attributes:
        directory: what transformers loads; in the hub's own cache.
        commit: that the revision is.
        weights_sha256: of every weight file, by name; equal to the hub's where the hub publishes it.
    """

    directory: Path
    commit: str
    weights_sha256: dict[str, str]


@dataclass(frozen=True)
class _HubFile:
    """One file; `sha256` is what the hub publishes, which it does for large files."""

    size: int
    sha256: str | None


@dataclass(frozen=True)
class _Listing:
    """The files of a revision.

    Attributes:
        unreachable: why the hub could not be asked just now; None where it was, or need not be.
    """

    commit: str
    files: dict[str, _HubFile]
    unreachable: str | None = None

    @property
    def weights(self) -> dict[str, str]:
        """Published hashes of the weight files."""
        return {name: file.sha256 for name, file in self.files.items() if _WEIGHTS.fullmatch(name) and file.sha256}


class _UnreachableError(Exception):
    """The hub did not answer, or something else did for it."""


class _NoRevisionError(Exception):
    """The repository is there, the revision is not."""


class _Silent(tqdm):
    """A progress bar that is never drawn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]


def fetch_revision(repository: str, *, revision: str, progress: bool = True) -> FetchedRevision:
    """The configuration, tokenizer and weights of a revision, fetched where the hub's cache does not hold them.

    Without the hub the commit that the revision was when it was last fetched is taken, where it is there wholly.

    Args:
        repository: OWNER/NAME of a model on the hub.
        revision: branch (`step<N>`, `main`), tag or commit.

    Raises:
        UserError: there is no such repository or revision, it cannot be reached and is not cached, or what came is not
            what the hub publishes.
    """
    check_not_v0(repository)
    where = f"{repository}@{revision}"
    try:
        listing = _listing(repository, revision)
    except _NoRevisionError:
        raise _no_revision(repository, revision) from None
    except _UnreachableError as error:
        raise UserError(f"{where} cannot be reached ({error}) and is not cached; {_REMEDY}") from error
    bar = tqdm if progress else _Silent

    def read(name: str) -> str:
        _fetch(repository, listing, [name], where=where, bar=bar)
        return _cached(repository, name, listing.commit).read_text(errors="replace")

    weights = choose_weights(listing.files, read, where=where)
    small = [name for name in _SMALL_FILES if name in listing.files]
    _fetch(repository, listing, [*small, *weights], where=where, bar=bar)
    hashes = {}
    for name in weights:
        path = _cached(repository, name, listing.commit)
        hashes[name] = _verified(path, listing.files[name], what=f"{name} of {where}")
    return FetchedRevision(_cached(repository, weights[0], listing.commit).parent, listing.commit, hashes)


def check_model_there(repository: str, *, remedy: str) -> None:
    """Raise UserError where a model's tokenizer is neither cached nor to be had, sooner than the hub's loaders do."""
    if isinstance(try_to_load_from_cache(repository, "tokenizer.json"), str):
        return
    try:
        _ask(repository, "main")
    except (_NoRevisionError, _UnreachableError) as error:
        raise UserError(
            f"the tokenizer {repository} is neither cached nor can the hub be asked ({error}); {remedy}"
        ) from error


def check_not_final(repository: str, *, step: int) -> bool:
    """Whether the weights of a step could be told from those of the end of training and of the neighbouring steps.

    Only published hashes are compared; no weights are fetched.

    Returns:
        False where the hub cannot be asked and was not before, or publishes no hashes; a warning says so.

    Raises:
        UserError: a weight file of the step is the same as that of the final step, of main, or of a neighbour.
    """
    check_not_v0(repository)
    try:
        mine = _listing(repository, f"step{step}")
    except _NoRevisionError:
        raise _no_revision(repository, f"step{step}") from None
    except _UnreachableError as error:
        return _not_compared(repository, step, f"the hub cannot be reached: {error}")
    reachable = mine.unreachable is None
    steps = (_published_steps(repository) if reachable else []) or list(STEPS)
    if step >= steps[-1]:
        return True
    final = {f"step{steps[-1]}", "main"}
    compared = False
    for revision in [*sorted(final), *(f"step{other}" for other in _neighbours(step, steps))]:
        try:
            others = _listing(repository, revision, ask=reachable)
        except (_NoRevisionError, _UnreachableError) as error:
            log.info("%s step%d is not compared with %s (%s)", repository, step, revision, error)
            continue
        common = mine.weights.keys() & others.weights.keys()
        same = sorted(name for name in common if mine.weights[name] == others.weights[name])
        if same:
            raise UserError(_why_same(repository, step, revision, same, len(mine.weights), is_final=revision in final))
        compared |= bool(common) and revision in final
    return compared or _not_compared(repository, step, "there are no published hashes to compare")


def _not_compared(repository: str, step: int, why: str) -> bool:
    log.warning(
        "whether %s step%d serves its own weights is not known (%s); some steps serve the final ones "
        "(EleutherAI/pythia#205, #206)",
        repository,
        step,
        why,
    )
    return False


def _why_same(repository: str, step: int, other: str, same: list[str], files: int, *, is_final: bool) -> str:
    part = "" if len(same) == files else f" in {len(same)} of {files} files"
    issue = "EleutherAI/pythia#205" if not part else "EleutherAI/pythia#206"
    if is_final:
        return (
            f"step{step} of {repository} serves the final weights{part}: {same[0]} has the sha256 of {other}'s "
            f"({issue} reports such steps); a run from it would start where training ended: take another step"
        )
    return (
        f"step{step} of {repository} serves the weights of {other}{part}: {same[0]} has the same sha256 "
        f"({issue} reports such steps); one of the two is not what its name says: take another step"
    )


def _neighbours(step: int, steps: list[int]) -> list[int]:
    """The steps before and after a step, but for those that rightly have the same weights."""
    below, above = [other for other in steps if other < step], [other for other in steps if other > step]
    return [other for other in [*below[-1:], *above[:1]] if not {step, other} <= UNMOVED_STEPS]


def _published_steps(repository: str) -> list[int]:
    """Steps that a repository has branches of, in order; empty where the hub does not say."""
    try:
        branches = HfApi().list_repo_refs(repository).branches
    except (httpx2.HTTPError, OSError, ValueError, TypeError, KeyError):
        return []
    matches = (re.fullmatch(r"step(\d+)", branch.name) for branch in branches)
    return sorted(int(match[1]) for match in matches if match)


def _no_revision(repository: str, revision: str) -> UserError:
    """What to say of a revision that is not there: the nearest step that is."""
    match = re.fullmatch(r"step(\d+)", revision)
    steps = _published_steps(repository)
    if match and steps:
        try:
            check_step(int(match[1]), steps, where=repository)
        except UserError as error:
            return error
    has = f"it has steps {steps[0]} to {steps[-1]}" if steps else f"Pythia's are step0 to step{FINAL_STEP}"
    return UserError(f"{repository} has no revision {revision}; {has}, and main")


def _listing(repository: str, revision: str, *, ask: bool = True) -> _Listing:
    """The files of a revision: from the hub, or as they were when it was last asked."""
    kept = _kept(repository, revision)
    if kept is not None and _COMMIT.fullmatch(revision):
        return kept
    try:
        if not ask:
            raise _UnreachableError("it did not answer before")
        listing = _ask(repository, revision)
    except _UnreachableError as error:
        known = kept or _listed_by_cache(repository, revision)
        if known is None:
            raise
        log.warning("%s@%s cannot be asked for (%s); taking commit %s", repository, revision, error, known.commit)
        return _Listing(known.commit, known.files, unreachable=str(error))
    files = {name: asdict(file) for name, file in listing.files.items()}
    for name in {revision, listing.commit}:
        remember(_memory(repository, name), json.dumps({"commit": listing.commit, "files": files}, indent=1))
    return listing


def _ask(repository: str, revision: str) -> _Listing:
    """One request to the hub."""
    try:
        info = HfApi().model_info(repository, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
        commit, found = info.sha, info.id
        files = {
            sibling.rfilename: _HubFile(sibling.size or 0, sibling.lfs.sha256 if sibling.lfs is not None else None)
            for sibling in info.siblings or []
        }
    except HFValidationError:
        raise UserError(
            f"{repository} is no name of a repository; expected OWNER/NAME, as EleutherAI/pythia-70m"
        ) from None
    except GatedRepoError:
        raise UserError(f"{repository} asks for a consent; give it on its page and log in (HF_TOKEN)") from None
    except RevisionNotFoundError:
        raise _NoRevisionError(f"there is no {revision}") from None
    except RepositoryNotFoundError:
        raise UserError(
            f"the hub has no model {repository}, or it is private; check the name, or log in (HF_TOKEN)"
        ) from None
    except OfflineModeIsEnabled:
        raise _UnreachableError("HF_HUB_OFFLINE is set") from None
    except HfHubHTTPError as error:
        raise _UnreachableError(f"it answered {error.response.status_code}") from error
    except (httpx2.HTTPError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _UnreachableError(type(error).__name__) from error  # the last ones where another answers for it
    if commit is None or not _COMMIT.fullmatch(commit):
        raise _UnreachableError("it names no commit")
    if found != repository:
        raise UserError(f"{repository} is called {found} now, which may be another model than was meant; name that one")
    return _Listing(commit, files)


def _memory(repository: str, revision: str) -> Path:
    name = f"{constants.ENDPOINT} {repository}@{revision}"
    return cache_directory() / "hub" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def _kept(repository: str, revision: str) -> _Listing | None:
    """The files as the hub last listed them."""
    try:
        content = json.loads(_memory(repository, revision).read_text())
        return _Listing(content["commit"], {name: _HubFile(**file) for name, file in content["files"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # never asked, damaged, or of another version of the kit


def _listed_by_cache(repository: str, revision: str) -> _Listing | None:
    """The files of a revision that another program fetched; the hub's cache calls large ones by their hash."""
    config = try_to_load_from_cache(repository, "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    files = {}
    for path in Path(config).parent.iterdir():
        blob = path.resolve().name
        files[path.name] = _HubFile(path.stat().st_size, blob if _SHA256.fullmatch(blob) else None)
    return _Listing(Path(config).parent.name, files)


def _cached(repository: str, name: str, commit: str) -> Path:
    """Path of a file that was fetched."""
    found = try_to_load_from_cache(repository, name, revision=commit)
    if not isinstance(found, str):
        raise FileNotFoundError(f"{name} of {repository}@{commit} is not in the cache of the hub")
    return Path(found)


def _fetch(repository: str, listing: _Listing, names: list[str], *, where: str, bar: type[tqdm]) -> None:
    """Let the hub's own loader fetch files into its cache."""
    lacking = [
        name for name in names if not isinstance(try_to_load_from_cache(repository, name, revision=listing.commit), str)
    ]
    if not lacking:
        return
    if listing.unreachable is not None:
        raise UserError(
            f"{where} cannot be reached ({listing.unreachable}), and the cache holds it only in part ({lacking[0]} is "
            f"missing); {_REMEDY}"
        )
    size = sum(listing.files[name].size for name in lacking)
    licence = "Apache-2.0" if repository.startswith("EleutherAI/pythia") else "licence: as its page says"
    told = (where, licence, len(lacking), size / 1e9, constants.HF_HUB_CACHE)
    log.info("fetching %s (%s): %d files, %.2f GB, into %s", *told)
    try:
        snapshot_download(repository, revision=listing.commit, allow_patterns=lacking, tqdm_class=bar)
    except (httpx2.HTTPError, OSError, RuntimeError, XetDownloadError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{where} did not come wholly ({type(error).__name__}: {reason[:160]}); files that did are kept: check the "
            f"network and the space in {constants.HF_HUB_CACHE} (HF_HOME), and give the same command again"
        ) from error


def _verified(path: Path, published: _HubFile, *, what: str) -> str:
    """SHA-256 of a weight file, which must be the published one."""
    size = path.stat().st_size
    if size != published.size:
        raise UserError(
            f"{what} has {size} bytes, published are {published.size}; remove {path.resolve()}, start again"
        )
    sha256 = remembered_sha256(path)
    if published.sha256 is None:
        log.warning("%s is not verified: the hub publishes no hash of it; its sha256 is %s", what, sha256)
    elif sha256 != published.sha256:
        raise UserError(
            f"{what} has sha256 {sha256[:16]}…, published is {published.sha256[:16]}…; it came damaged: remove "
            f"{path.resolve()}, and start again"
        )
    return sha256

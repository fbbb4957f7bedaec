"""Revisions of models on the hub: fetched at a commit, checked against the published hashes, usable without the hub.

The hub's own loaders check the size of what they fetch and nothing else, take minutes to notice that there is no
network, and cannot know that a step serves another step's weights.
"""

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from foundation import UserError
from foundation.hub import (
    COMMIT,
    TOKENIZER_FILES,
    HubFile,
    Listing,
    NoRevision,
    Repository,
    fetch_files,
    known_files,
    left_bytes,
    list_branches,
    list_files,
)
from foundation.web import OutOfReach
from training.checkpoint import check_step
from training.published import FINAL_STEP, STEPS, UNMOVED_STEPS, check_not_v0, is_of_suite
from training.weights import choose_weights, remembered_sha256

log = logging.getLogger(__name__)

_WEIGHTS = re.compile(r"(model|pytorch_model)(-\d{5}-of-\d{5})?\.(safetensors|bin)")
_SHARDS = re.compile(r"-of-(\d{5})\.")
_SMALL_FILES = ("config.json", "generation_config.json", *TOKENIZER_FILES)
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
    model = Repository(repository)
    listing = _listing(model, revision)
    if listing.unreachable is not None:
        log.info("%s: taking commit %s, as it was when it was fetched", where, listing.commit)
    weights = _weights_of(model, listing, where=where, progress=progress)
    small = [name for name in _SMALL_FILES if name in listing.files]
    directory = _fetch(model, listing, [*small, *weights], where=where, progress=progress)
    for name in small:
        _check_blob(directory / name, what=f"{name} of {where}")
    hashes = {}
    for name in weights:
        hashes[name] = _verified(directory / name, listing.files[name], what=f"{name} of {where}")
    return FetchedRevision(directory, listing.commit, hashes)


def _listing(model: Repository, revision: str) -> Listing:
    """The files of a revision.

    Raises:
        UserError: it is not there, or cannot be reached and is not cached.
    """
    try:
        return list_files(model, revision)
    except NoRevision:
        raise _no_revision(model, revision) from None
    except OutOfReach as error:
        where = f"{model}@{revision}"
        raise OutOfReach(f"{where} cannot be reached ({error.reason}) and is not cached; {_REMEDY}") from error


def _weights_of(model: Repository, listing: Listing, *, where: str, progress: bool) -> list[str]:
    """Names of the weight files of a revision that can be loaded; its index of shards is fetched where it has one."""

    def read(name: str) -> str:
        directory = _fetch(model, listing, [name], where=where, progress=progress)
        return (directory / name).read_text(errors="replace")

    try:
        names = choose_weights(listing.files, read, where=where)
        if "config.json" not in listing.files:
            raise UserError(f"{where} holds no config.json; fetch it again, whole")
    except UserError as error:
        if listing.unreachable is None:
            raise
        raise OutOfReach(
            f"{where} cannot be reached ({listing.unreachable}), and the cache holds it only in part ({error}); "
            f"{_REMEDY}"
        ) from error
    return names


def _fetch(model: Repository, listing: Listing, names: list[str], *, where: str, progress: bool) -> Path:
    licence = "Apache-2.0" if model.name.startswith("EleutherAI/pythia") else "licence: as its page says"
    return fetch_files(model, listing, names, where=where, licence=licence, remedy=_REMEDY, progress=progress)


def _published_hashes(listing: Listing) -> dict[str, str]:
    """Published hashes of the weight files."""
    return {name: file.sha256 for name, file in listing.files.items() if _WEIGHTS.fullmatch(name) and file.sha256}


def _hashes_of_loaded(listing: Listing) -> dict[str, str]:
    """The same of the format that is loaded: as `choose_weights`, without reading an index."""
    names = [name for name in listing.files if _WEIGHTS.fullmatch(name)]
    safetensors = [name for name in names if name.endswith(".safetensors")]
    lone = [name for name in safetensors if not _SHARDS.search(name)]
    shards = [int(found[1]) for name in safetensors if (found := _SHARDS.search(name))]
    whole = bool(lone) or (bool(shards) and len(shards) == max(shards))
    chosen = (lone or safetensors) if whole else [name for name in names if name not in safetensors]
    return {name: sha256 for name, sha256 in _published_hashes(listing).items() if name in chosen}


def published_steps(repository: str) -> list[int]:
    """The steps of a repository, in order: the suite's of a model of the suite, else those that it has branches of.

    Where it has none, its main is the last step. Where the hub cannot be asked, and never was, the suite's are taken.
    """
    if is_of_suite(repository):
        return list(STEPS)
    branches = list_branches(Repository(repository))
    return list(STEPS) if branches is None else _steps_among(branches) or [FINAL_STEP]


def revision_of(repository: str, step: int) -> str:
    """The revision that holds the checkpoint of a step: its branch; main for the last of those that have none."""
    if step != FINAL_STEP or is_of_suite(repository):
        return f"step{step}"
    branches = list_branches(Repository(repository))
    return f"step{step}" if branches is None or _steps_among(branches) else "main"


def lacking_bytes(repository: str, *, step: int) -> int | None:
    """Bytes of a step that the hub's cache does not hold, from what is known; None where it was never listed.

    Asks nobody.
    """
    model = Repository(repository)
    listing = known_files(model, f"step{step}")
    if listing is None and step == FINAL_STEP and not is_of_suite(repository):
        listing = known_files(model, "main")
    if listing is None:
        return None
    weights = [name for name in listing.files if _WEIGHTS.fullmatch(name)]
    chosen = [name for name in weights if name.endswith(".safetensors")] or weights
    needed = [*(name for name in _SMALL_FILES if name in listing.files), *chosen]
    lacking = left_bytes(model, listing, needed)
    return lacking if chosen else None


def check_not_final(repository: str, *, step: int) -> bool:
    """Whether the weights of a step could be told from those of the end of training and of the neighbouring steps.

    Only published hashes are compared; no weights are fetched.

    Returns:
        False where the hub cannot be asked and was not before, or publishes no hashes; a warning says so.

    Raises:
        UserError: a weight file of the step is the same as that of the final step, of main, or of a neighbour.
    """
    check_not_v0(repository)
    model = Repository(repository)
    try:
        mine = _hashes_of_loaded(list_files(model, f"step{step}"))
    except NoRevision:
        raise _no_revision(model, f"step{step}") from None
    except OutOfReach as error:
        return _not_compared(repository, step, f"the hub cannot be reached: {error.reason}")
    steps = _published_steps(model) or list(STEPS)
    if step >= steps[-1]:
        return True
    final = {f"step{steps[-1]}", "main"}
    compared = False
    for revision in [*sorted(final), *(f"step{other}" for other in _neighbours(step, steps))]:
        try:
            others = _published_hashes(list_files(model, revision))
        except (NoRevision, OutOfReach) as error:
            log.info("%s step%d is not compared with %s (%s)", repository, step, revision, error)
            continue
        common = mine.keys() & others.keys()
        same = sorted(name for name in common if mine[name] == others[name])
        if same:
            raise UserError(_why_same(repository, step, revision, same, len(mine), is_final=revision in final))
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


def _published_steps(model: Repository) -> list[int]:
    """Steps that a repository has branches of, in order; empty where it has none, or the hub does not say."""
    return _steps_among(list_branches(model) or [])


def _steps_among(branches: list[str]) -> list[int]:
    matches = (re.fullmatch(r"step(\d+)", branch) for branch in branches)
    return sorted(int(match[1]) for match in matches if match)


def _no_revision(model: Repository, revision: str) -> UserError:
    """What to say of a revision that is not there: the nearest step that is."""
    match = re.fullmatch(r"step(\d+)", revision)
    steps = _published_steps(model)
    if match and steps:
        try:
            check_step(int(match[1]), steps, where=model.name)
        except UserError as error:
            return error
    has = f"it has steps {steps[0]} to {steps[-1]}" if steps else f"Pythia's are step0 to step{FINAL_STEP}"
    return UserError(f"{model} has no revision {revision}; {has}, and main")


def _check_blob(path: Path, *, what: str) -> None:
    """Raise UserError where a small file is not what its name in the hub's cache says: the hash that git has of it."""
    blob = path.resolve()
    if not COMMIT.fullmatch(blob.name):
        return  # large, or of a cache without links
    content = blob.read_bytes()
    found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    if found != blob.name:
        raise UserError(
            f"{what} is damaged: git knows it as {blob.name[:16]}…, it is {found[:16]}…; remove {blob} and "
            f"start again, it is then fetched again"
        )


def _verified(path: Path, published: HubFile, *, what: str) -> str:
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

"""Hold the shards on this machine against published hashes.

python -m corpus.verify PLACE HASHES

PLACE is a .bin, or the directory or prefix of shards. HASHES is a file with a
line a file, as sha256sum or openssl writes it, or with the name first, as
EleutherAI/pythia utils/shard_hashes.txt has them for the unshuffled
deduplicated Pile; or
hf://datasets/OWNER/NAME[@REVISION]: the hub knows the hash of every large file.
"""

import codecs
import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from corpus.byte_source import LocalFiles, local_files
from corpus.remote import is_remote, remote_place
from foundation import UserError, run_command

_SHA256 = r"(?P<sha256>[0-9a-fA-F]{64})"
_LINES = [  # of sha256sum, of BSD and openssl, of EleutherAI/pythia
    re.compile(rf"\\?{_SHA256}\s+\*?(?P<name>.+)"),
    re.compile(rf"SHA2?-?256\s?\((?P<name>.+)\)\s?=\s?{_SHA256}"),
    re.compile(rf"(?P<name>.+?)\s+{_SHA256}"),
]
_SHOWN = 100
_READ_BYTES = 8 << 20


def published_hashes(place: str) -> dict[str, str]:
    """SHA-256 by file name, from a file of hashes or from the hub.

    Raises:
        UserError: the file is not there or holds another kind of line, or the hub has no hashes of these files.
    """
    if is_remote(place):
        published = {Path(file.name).name: file.sha256 for file in remote_place(place, revision=None).listing().files}
        if None in published.values():
            raise UserError(f"{place} publishes no hashes; name a file of hashes, as sha256sum writes it")
        return {name: sha256 for name, sha256 in published.items() if sha256 is not None}
    if not Path(place).is_file():
        raise UserError(f"there is no file of hashes {place}; name one that there is, or hf://datasets/OWNER/NAME")
    hashes = {}
    for line in _text(Path(place)).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = next(filter(None, (each.fullmatch(line.strip()) for each in _LINES)), None)
        if match is None:
            shown = line if len(line) <= 2 * _SHOWN else f"{line[:_SHOWN]}...{line[-_SHOWN:]}"
            raise UserError(f"{place} holds the line {shown!r}, expected lines HASH NAME, as sha256sum writes them")
        hashes[re.split(r"[\\/]", match["name"])[-1]] = match["sha256"].lower()
    if not hashes:
        raise UserError(f"{place} holds no line, expected lines HASH NAME, as sha256sum writes them")
    return hashes


def _text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16, as Windows writes what is redirected to a file."""
    content = path.read_bytes()
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig", "replace")


def verify_files(files: LocalFiles, published: Mapping[str, str]) -> None:
    """Read every file and hold its SHA-256 against the published one.

    Raises:
        UserError: a file has another hash, or none is published for it.
    """
    unknown = [path.name for path in files.paths if path.name not in published]
    if unknown:
        raise UserError(
            f"no hash is published for {unknown[0]}: the hashes are of {', '.join(sorted(published)[:3])}...; name the "
            f"hashes of these files, under their names"
        )
    with tqdm(total=files.size, desc="hashing", unit="B", unit_scale=True, disable=None) as bar:
        for path in files.paths:
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while data := file.read(_READ_BYTES):
                    digest.update(data)
                    bar.update(len(data))
            if digest.hexdigest() != published[path.name]:
                raise UserError(
                    f"{path} has sha256 {digest.hexdigest()}, published is {published[path.name]}; fetch it again"
                )


def main(arguments: list[str]) -> None:
    """Verify what the arguments name."""
    if len(arguments) != 2:
        raise UserError(f"PLACE and HASHES are expected, {len(arguments)} arguments are given; --help explains them")
    place, hashes = arguments
    if is_remote(place):
        raise UserError(f"{place} is not on this machine; PLACE is a .bin, or a directory or prefix of shards")
    files = local_files(place)
    verify_files(files, published_hashes(hashes))
    sys.stdout.write(f"{len(files.paths)} files, {files.size} bytes: all as published\n")


if __name__ == "__main__":
    run_command(main, __doc__)

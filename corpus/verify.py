"""Hold the shards on this machine against published hashes.

python -m corpus.verify PLACE HASHES

PLACE is a .bin, or the directory or prefix of shards. HASHES is a file with a line a shard, as sha256sum writes it or
with the name first (EleutherAI/pythia utils/shard_hashes.txt, for the unshuffled deduplicated Pile); or
hf://datasets/OWNER/NAME[@REVISION]: the hub knows the hash of every large file.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from corpus.byte_source import LocalFiles, local_files
from corpus.remote import is_remote, remote_place
from foundation import UserError, cache_directory

_LINE = re.compile(r"(?:(?P<first>[0-9a-f]{64})\s+\*?(?P<name>\S+)|(?P<name_first>\S+)\s+(?P<last>[0-9a-f]{64}))")
_READ_BYTES = 8 << 20


def published_hashes(place: str) -> dict[str, str]:
    """SHA-256 by file name, from a file of hashes or from the hub.

    Raises:
        UserError: the file is not there or holds another kind of line, or the hub has no hashes of these files.
    """
    if is_remote(place):
        files = remote_place(place, revision=None, listings=cache_directory() / "remote" / "listings").listing().files
        hashes = {Path(file.name).name: file.version.removeprefix("sha256:") for file in files}
        if not all(re.fullmatch(r"[0-9a-f]{64}", sha256) for sha256 in hashes.values()):
            raise UserError(f"{place} publishes no hashes; name a file of hashes")
        return hashes
    if not Path(place).is_file():
        raise UserError(f"there is no file of hashes {place}")
    hashes = {}
    for line in Path(place).read_text("utf-8").splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise UserError(f"{place} holds the line {line[:60]!r}, expected a name and its SHA-256")
        hashes[Path(match["name"] or match["name_first"]).name] = match["first"] or match["last"]
    return hashes


def verify_files(files: LocalFiles, published: Mapping[str, str]) -> None:
    """Read every file and hold its SHA-256 against the published one.

    Raises:
        UserError: a file has another hash, or none is published for it.
    """
    unknown = [path.name for path in files.paths if path.name not in published]
    if unknown:
        raise UserError(
            f"no hash is published for {unknown[0]}; the hashes are of {', '.join(sorted(published)[:3])}..."
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


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m corpus.verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("place", metavar="PLACE")
    parser.add_argument("hashes", metavar="HASHES")
    arguments = parser.parse_args()
    try:
        files = local_files(arguments.place)
        verify_files(files, published_hashes(arguments.hashes))
    except UserError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"{len(files.paths)} files, {files.size} bytes: all as published\n")


if __name__ == "__main__":
    main()

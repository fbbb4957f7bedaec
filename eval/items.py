"""Reading benchmark files to the letter, from this machine or from datasets on the hub."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from foundation import UserError
from foundation.hub import Listing, NoRevision, Repository, fetch_files, list_files
from foundation.web import OutOfReach

HUB = "hf://datasets/"
CONVERTED = "refs/convert/parquet"
"""Where the hub keeps a copy of every public dataset, by configuration and split."""


def load_records(location: str, *, config: str, split: str) -> pd.DataFrame:
    """The records at hf://datasets/OWNER/NAME, in that configuration and split, or of a local table."""
    return load_hub_records(location, config, split) if location.startswith(HUB) else read_records(Path(location))


def read_records(file: Path) -> pd.DataFrame:
    """The records of a local table in order, every text as it stands: nothing is stripped, "NA" is a text.

    The suffix tells the format: `.csv` and `.tsv` (UTF-8, quotes as in RFC 4180, separated by tabs if the first line
    has one, else by commas: the file of the revised CrowS-Pairs is called csv and separated by tabs), `.jsonl` (UTF-8)
    or `.parquet`.

    Raises:
        UserError: there is no such file, its suffix is another one, or its content is not of that format.
    """
    if not file.is_file():
        raise UserError(f"there is no file {file}; name one that there is")
    if file.suffix not in _READERS:
        raise UserError(f"{file} has the suffix {file.suffix!r}, expected one of {', '.join(_READERS)}; rename it")
    try:
        return _READERS[file.suffix](file)
    except (csv.Error, ValueError) as error:
        raise UserError(
            f"{file} cannot be read as {file.suffix.removeprefix('.')} ({_one_line(error)}); expected a whole file in "
            f"UTF-8 or parquet: fetch it again"
        ) from error


def load_hub_records(location: str, config: str, split: str) -> pd.DataFrame:
    """The records of a dataset on the hub, or of its files in the hub's cache.

    Args:
        location: hf://datasets/OWNER/NAME[@REVISION].
        config: its configuration.
        split: of that configuration.

    Raises:
        UserError: it cannot be reached and is not cached, or has no tables of such a configuration or split.
    """
    name, _, revision = location.removeprefix(HUB).strip("/").partition("@")
    repository = Repository(name, "dataset")
    remedy = "connect once, or name a local file"
    try:
        listing = list_files(repository, revision or "main")
        names = table_files(listing, config, split)
        if not names and not revision:
            listing = list_files(repository, CONVERTED)
            names = sorted(file for file in listing.files if fnmatchcase(file, f"{config}/{split}/*.parquet"))
    except NoRevision:
        names = []
    except OutOfReach as error:
        raise OutOfReach(f"{location} cannot be loaded ({error.reason}); {remedy}") from error
    if not names:
        raise UserError(
            f"{location} has no tables of the configuration {config} and the split {split}; expected parquet, .jsonl, "
            f".csv or .tsv: {remedy}"
        )
    directory = fetch_files(repository, listing, names, where=location, remedy=remedy)
    return pd.concat([read_records(directory / name) for name in names], ignore_index=True)


def table_files(listing: Listing, config: str, split: str) -> list[str]:
    """The files of a split of a configuration, in order: as the dataset's card says, else by their names.

    Names are those that the hub's own tools give: CONFIG/SPLIT-00000-of-00001.parquet, and below data/ those of a
    dataset with one configuration.
    """
    tables = sorted(name for name in listing.files if PurePosixPath(name).suffix in _READERS)
    described = [given for given in listing.configs if given.get("config_name") == config]
    said = [pattern for given in described for pattern in _said(given, split)]
    if said:
        return [name for name in tables if any(fnmatchcase(name, pattern) for pattern in said)]
    folders = [config, *(["data", ""] if config == "default" or not listing.configs else [])]
    for folder in folders:
        here = [name for name in tables if str(PurePosixPath(name).parent) == (folder or ".")]
        if found := [name for name in here if re.match(rf"{re.escape(split)}([-.]|$)", PurePosixPath(name).name)]:
            return found
    return []


def _said(config: Mapping[str, Any], split: str) -> list[str]:
    """Patterns of the files of a split, as a dataset's card gives them."""
    given = config.get("data_files") or []
    if isinstance(given, str):
        given = [{"split": "train", "path": given}]
    patterns: list[str] = []
    for entry in given:
        if isinstance(entry, str):
            entry = {"split": "train", "path": entry}
        if entry.get("split") == split:
            paths: str | Sequence[str] = entry.get("path") or []
            patterns += [paths] if isinstance(paths, str) else paths
    folder = str(config.get("data_dir") or "")
    return [f"{folder.strip('/')}/{pattern}".lstrip("/") for pattern in patterns]


def _read_separated(file: Path) -> pd.DataFrame:
    content = file.read_bytes().decode("utf-8")
    separator = "\t" if "\t" in content.partition("\n")[0] else ","
    rows = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    header, *records = [row for row in rows if row]
    for number, record in enumerate(records, start=1):
        if len(record) != len(header):
            raise ValueError(f"record {number} has {len(record)} fields, the header {len(header)}")
    return pd.DataFrame(records, columns=header)


def _read_json_lines(file: Path) -> pd.DataFrame:
    lines = file.read_bytes().decode("utf-8").split("\n")  # splitlines would also split at characters within a text
    return pd.DataFrame([json.loads(line) for line in lines if line.strip()])


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_separated,
    ".tsv": _read_separated,
    ".jsonl": _read_json_lines,
    ".parquet": pd.read_parquet,
}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def check_counts(benchmark: str, found: Mapping[str, int], expected: Mapping[str, int]) -> None:
    """Refuse to go on with other items than the published ones.

    Raises:
        UserError: a count differs.
    """
    if dict(found) != dict(expected):
        raise UserError(
            f"{benchmark} was read as {dict(found)}, expected {dict(expected)}; name a file of it as it was published"
        )

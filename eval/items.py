"""Reading benchmark files to the letter; datasets on the hub with `datasets`, without its progress bars."""

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from foundation import UserError

HUB = "hf://datasets/"


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
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": _read_separated,
        ".tsv": _read_separated,
        ".jsonl": _read_json_lines,
        ".parquet": pd.read_parquet,
    }
    if not file.is_file():
        raise UserError(f"there is no file {file}; name one that there is")
    if file.suffix not in readers:
        raise UserError(f"{file} has the suffix {file.suffix!r}, expected one of {', '.join(readers)}; rename it")
    try:
        return readers[file.suffix](file)
    except (csv.Error, ValueError) as error:
        raise UserError(
            f"{file} cannot be read as {file.suffix.removeprefix('.')} ({_one_line(error)}); expected a whole file in "
            f"UTF-8 or parquet: fetch it again"
        ) from error


def load_hub_records(location: str, config: str, split: str) -> pd.DataFrame:
    """The records of a dataset on the hub, or of its copy in the cache of `datasets`.

    Args:
        location: hf://datasets/OWNER/NAME.
        config: its configuration.
        split: of that configuration.

    Raises:
        UserError: it cannot be reached, needs a loading script, or has no such configuration or split.
    """
    import datasets  # a second, which only those who read from the hub wait for

    try:
        with _no_progress_bars():
            items = datasets.load_dataset(location.removeprefix(HUB), config, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{location} cannot be loaded ({_one_line(error)}); expected a dataset without a script, with the "
            f"configuration {config} and the split {split}: connect once, or name a local file"
        ) from error
    return pd.DataFrame(items.to_dict())


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


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()

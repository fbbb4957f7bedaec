"""Reading benchmark files, with `datasets` and without its loading scripts or progress bars."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import datasets
import pandas as pd

from foundation import UserError


def load_items(kind: Literal["csv", "text"], files: Sequence[Path], **options: Any) -> pd.DataFrame:
    """The records of local files in order, with `datasets`' columns: those of a csv, or `text` for lines.

    Args:
        kind: the builder of `datasets`.
        files: read one after another.
        options: of that builder, such as `sep`.
    """
    with _no_progress_bars():
        items = datasets.load_dataset(kind, data_files=[str(file) for file in files], split="train", **options)
    return pd.DataFrame(items.to_dict())


def check_counts(benchmark: str, found: Mapping[str, int], expected: Mapping[str, int]) -> None:
    """Refuse to go on with other items than the published ones.

    Raises:
        UserError: a count differs.
    """
    if dict(found) != dict(expected):
        raise UserError(
            f"{benchmark} was read as {dict(found)}, expected {dict(expected)}; the file was read wrongly, probably by "
            f"an unsuited version of datasets ({datasets.__version__}): install the one this kit was tested with"
        )


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()

"""GPT-NeoX's order of training rows: documents shuffled, joined, cut into overlapping windows, windows shuffled.

After gpt-neox v1.0 `megatron/data/gpt2_dataset.py` and `helpers.cpp`. One generator, NumPy's legacy `RandomState`,
makes both shuffles, the documents' first. A window holds `seq_length + 1` tokens and begins where its predecessor ends:
the two share one token, which is the label of the one and the first input of the other.
"""

import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation import UserError

MAPS = ("doc", "sample", "shuffle")
_OTHER_SPLIT = re.compile(r"_(valid|test)(_\d+)?$")

_WINDOWS_AT_ONCE = 1 << 22
# what numpy raises for a .npy with altered bytes
_UNREADABLE = (ValueError, EOFError, OSError, OverflowError, TypeError, LookupError, SyntaxError, tokenize.TokenError)


@dataclass(frozen=True)
class SampleOrder:
    """The three index maps of GPT-NeoX.

    Attributes:
        documents: (epochs * D,) document ids in the order in which they are joined.
        windows: (N + 1, 2) for each window the entry of `documents` it begins in, and the token offset there.
        shuffle: (N,) the window that is the i-th row of training.
        seq_length: tokens predicted per row.
    """

    documents: NDArray[np.int32]
    windows: NDArray[np.int32] | NDArray[np.int64]
    shuffle: NDArray[np.uint32] | NDArray[np.int64]
    seq_length: int


def sample_order(sizes: NDArray[np.int32], *, num_samples: int, seq_length: int, seed: int) -> SampleOrder:
    """Build the index maps for documents of the given sizes.

    Args:
        sizes: (D,) tokens of each document, end-of-document token included.
        num_samples: rows that training needs; as many whole epochs are laid end to end and shuffled *jointly*.
        seq_length: tokens predicted per row.
        seed: 1234 for Pythia.
    """
    tokens_per_epoch = int(sizes.sum(dtype=np.int64))
    epochs = -(-(num_samples * seq_length + 1) // tokens_per_epoch)
    if epochs * len(sizes) > np.iinfo(np.int32).max:
        raise UserError(
            f"{num_samples} rows of {seq_length} tokens take {epochs} epochs of {len(sizes)} documents, more than an "
            f"index map holds; is this the right corpus?"
        )
    rng = np.random.RandomState(seed)
    documents = np.tile(np.arange(len(sizes), dtype=np.int32), epochs)
    rng.shuffle(documents)
    windows = _windows(sizes[documents], num_windows=(epochs * tokens_per_epoch - 1) // seq_length, stride=seq_length)
    shuffle = np.arange(len(windows) - 1, dtype=np.uint32)
    rng.shuffle(shuffle)
    return SampleOrder(documents, windows, shuffle, seq_length)


def _windows(sizes: NDArray[np.int32], *, num_windows: int, stride: int) -> NDArray[np.int32]:
    """(num_windows + 1, 2) entry and offset of every stride-th token of the joined documents."""
    ends = np.cumsum(sizes, dtype=np.int64)
    windows = np.empty((num_windows + 1, 2), np.int32)
    for first in range(0, num_windows + 1, _WINDOWS_AT_ONCE):  # in parts: the Pile has 10^8 windows
        starts = np.arange(first, min(first + _WINDOWS_AT_ONCE, num_windows + 1), dtype=np.int64) * stride
        entries = np.searchsorted(ends, starts, side="right")
        windows[first : first + len(starts), 0] = entries
        windows[first : first + len(starts), 1] = starts - (ends[entries] - sizes[entries])
    windows[0] = 0  # GPT-NeoX begins with the first document also where that is empty
    return windows


def map_names(prefix: str, *, num_samples: int, seq_length: int, seed: int) -> dict[str, str]:
    """File names that GPT-NeoX v1.0 gives the maps `doc`, `sample` and `shuffle` of a training set."""
    return {kind: f"{prefix}_train_0_indexmap_{num_samples}ns_{seq_length}sl_{seed}s_{kind}_idx.npy" for kind in MAPS}


def save_order(order: SampleOrder, directory: Path, names: dict[str, str]) -> None:
    """Write the maps as `.npy`."""
    for kind, array in zip(MAPS, (order.documents, order.windows, order.shuffle), strict=True):
        np.save(directory / names[kind], array, allow_pickle=False)


def find_maps(directory: Path, *, seq_length: int, seed: int, num_samples: int) -> dict[str, Path]:
    """The files of the three training maps for a seed and a row length, under whatever prefix, in a directory or below.

    GPT-NeoX keeps those of validation and test, and those of other numbers of samples, in the same directory.

    Args:
        num_samples: whose maps are meant where there are those of several.

    Raises:
        UserError: one of them is missing, or there are several.
    """
    if not directory.is_dir():
        raise UserError(f"there is no directory {directory} of maps; name one, or leave corpus.maps out to build them")
    pattern = re.compile(rf"(.*)_indexmap_(\d+)ns_{seq_length}sl_{seed}s_(doc|sample|shuffle)_idx\.npy")
    matches = [(path, pattern.fullmatch(path.name)) for path in sorted(directory.rglob("*_idx.npy"))]
    of_training = [(path, match) for path, match in matches if match and not _OTHER_SPLIT.search(match[1])]
    meant = [(path, match) for path, match in of_training if int(match[2]) == num_samples] or of_training
    found = {kind: [path for path, match in meant if match[3] == kind] for kind in MAPS}
    for kind, paths in found.items():
        if len(paths) != 1:
            raise UserError(
                f"{directory} holds {len(paths)} files *_indexmap_*ns_{seq_length}sl_{seed}s_{kind}_idx.npy of "
                f"training, expected one; name the directory of one seed's maps"
            )
    return {kind: paths[0] for kind, paths in found.items()}


def load_order(maps: dict[str, Path], *, seq_length: int) -> SampleOrder:
    """Map three `.npy` files, as GPT-NeoX or `save_order` wrote them.

    Raises:
        UserError: they are no index maps, or do not belong together.
    """
    arrays = {kind: _load(path) for kind, path in maps.items()}
    documents, windows, shuffle = (arrays[kind] for kind in MAPS)
    if documents.ndim != 1 or shuffle.ndim != 1 or windows.ndim != 2 or windows.shape[1] != 2:
        shapes = {kind: array.shape for kind, array in arrays.items()}
        raise UserError(
            f"{maps['doc'].parent}: the maps have shapes {shapes}, expected (n,), (m + 1, 2) and (m,); they are not "
            f"GPT-NeoX's: leave corpus.maps out to build them, or fetch them again"
        )
    if len(windows) - 1 != len(shuffle):
        raise UserError(
            f"{maps['sample']} has {len(windows) - 1} windows, {maps['shuffle'].name} orders {len(shuffle)}; the two "
            f"do not belong together: leave corpus.maps out to build them, or fetch both again"
        )
    return SampleOrder(documents, windows, shuffle, seq_length)


def check_order(order: SampleOrder, *, num_documents: int, origin: str) -> None:
    """Refuse maps that are damaged or belong to other documents. Reads them whole once.

    The published `shuffle_idx` of seed 2, for one, is zero from row 12,354,528 on (EleutherAI/pythia #190).

    Raises:
        UserError: not every window comes once, or a document comes that the corpus does not have, or not all come
            equally often.
    """
    windows_left = np.ones(len(order.shuffle), np.bool_)
    inside = order.shuffle < len(order.shuffle)
    windows_left[order.shuffle[inside]] = False
    missing = int(windows_left.sum())
    if missing:
        raise UserError(
            f"{origin}: the shuffle leaves out {missing} of {len(order.shuffle)} windows, so others come twice; leave "
            f"corpus.maps out to build it (the published one of seed 2 is no better: EleutherAI/pythia#190)"
        )
    lowest, highest = int(order.documents.min(initial=0)), int(order.documents.max(initial=-1))
    if highest >= num_documents or lowest < 0 or len(order.documents) % num_documents:
        raise UserError(
            f"{origin}: the maps order {len(order.documents)} documents from number {lowest} to {highest}, but the "
            f"corpus has {num_documents}; they belong to another corpus: leave corpus.maps out to build them, or name "
            f"that corpus"
        )
    counts = np.bincount(order.documents, minlength=num_documents)
    if counts.min() == 0:
        raise UserError(
            f"{origin}: the maps leave out {int((counts == 0).sum())} of {num_documents} documents; they are damaged: "
            f"leave corpus.maps out to build them, or fetch them again"
        )
    if counts.min() != counts.max():
        raise UserError(
            f"{origin}: the maps lay document {int(counts.argmax())} out {counts.max()} times and document "
            f"{int(counts.argmin())} {counts.min()} times, expected all alike; the file is damaged: fetch it again, or "
            f"leave corpus.maps out to build it"
        )


def check_windows(order: SampleOrder, sizes: NDArray[np.int32], *, origin: str) -> None:
    """Refuse maps whose windows do not begin where the documents before them end. Reads them whole once.

    Args:
        order: that `check_order` let pass.
        sizes: (D,) tokens of each document.

    Raises:
        UserError: a window begins elsewhere, or at a document or token that is not there.
    """
    ends = np.cumsum(sizes[order.documents], dtype=np.int64)
    for first in range(0, len(order.windows), _WINDOWS_AT_ONCE):
        entries, offsets = order.windows[first : first + _WINDOWS_AT_ONCE].astype(np.int64).T
        inside = (entries >= 0) & (entries < len(ends))
        known = np.where(inside, entries, 0)
        lengths = sizes[order.documents[known]]
        inside &= (offsets >= 0) & (offsets < np.maximum(lengths, 1))
        expected = np.arange(first, first + len(entries)) * order.seq_length
        wrong = np.flatnonzero(~inside | (ends[known] - lengths + offsets != expected))
        if len(wrong):
            window = int(wrong[0])
            raise UserError(
                f"{origin}: window {first + window} begins at token {offsets[window]} of document number "
                f"{entries[window]} in the order, which is not token {expected[window]} of all: the maps are damaged "
                f"or belong to other documents; fetch them again, or leave corpus.maps out to build them"
            )


def _load(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} is no .npy array of numbers ({reason}); fetch it again") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path} is an archive of arrays, expected one .npy array of numbers; fetch it again")
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(
            f"{path} holds {array.dtype}, expected whole numbers; save it again as an integer type, or leave "
            f"corpus.maps out to build it"
        )
    return array

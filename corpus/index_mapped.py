"""Rows gathered from an unshuffled corpus through GPT-NeoX's index maps, where no shuffled copy is published."""

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.byte_source import Cost
from corpus.indexed_dataset import IndexedDataset, read_indexed_dataset
from corpus.inspection import check_files
from corpus.remote import is_remote
from corpus.rows import PYTHIA_ROW_TOKENS, check_rows
from corpus.sample_order import (
    SampleOrder,
    check_order,
    check_windows,
    find_maps,
    load_order,
    map_names,
    sample_order,
    save_order,
)
from foundation import UserError, atomic_directory, cache_directory, exclusive, hash_of_source
from foundation.hub import Listing, Repository, fetch_files, known_files, left_bytes, list_files
from foundation.web import OutOfReach

log = logging.getLogger(__name__)

MAP_BYTES = 2_800_000_000
"""About what the maps of one of PolyPythias' seeds take."""

_HUB = re.compile(r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>.+))?/?")


@dataclass(frozen=True)
class IndexMapped:
    """Rows of an unshuffled corpus in an order of its own.

    Attributes:
        dataset: the documents; what GPT-NeoX calls a document here is a sequence of the `.idx`.
        order: the index maps.
        origin: where the maps come from, for run.json.
    """

    dataset: IndexedDataset
    order: SampleOrder
    origin: str
    tokenizer: Path | None = None
    sha256: str | None = None

    @property
    def location(self) -> str:
        return self.dataset.source.location

    @property
    def num_rows(self) -> int:
        return len(self.order.shuffle)

    @property
    def layouts(self) -> int:
        return len(self.order.documents) // len(self.dataset)

    @property
    def row_tokens(self) -> int:
        return self.order.seq_length + 1

    def rows(self, start: int, stop: int) -> NDArray[np.uint16]:
        check_rows(self, start, stop)
        return np.array([self._row(row) for row in range(start, stop)], np.uint16).reshape(-1, self.row_tokens)

    def expect(self, start: int, stop: int) -> None:
        check_rows(self, start, stop)

    def cost(self, start: int, stop: int) -> Cost:
        check_rows(self, start, stop)
        return Cost(needed_bytes=(stop - start) * 2 * self.row_tokens)

    def identity(self) -> dict[str, Any]:
        return {
            **self.dataset.source.identity(),
            "rows": self.num_rows,
            "row_tokens": self.row_tokens,
            "order": self.origin,
        }

    def _row(self, row: int) -> NDArray[np.generic]:
        """Window `shuffle[row]`: from its first token up to the first token of the next window, that one included."""
        window = int(self.order.shuffle[row])
        (first, start), (last, end) = (map(int, entry) for entry in self.order.windows[window : window + 2])
        if first == last:
            parts = [self._tokens(first, start, end + 1)]
        else:
            parts = [self._tokens(first, start, None)]
            parts += [self._tokens(entry, 0, None) for entry in range(first + 1, last)]
            parts += [self._tokens(last, 0, end + 1)]
        tokens = np.concatenate(parts)
        if len(tokens) != self.row_tokens:
            raise UserError(
                f"row {row} has {len(tokens)} tokens by {self.origin}, expected {self.row_tokens}; the maps belong to "
                f"other documents than {self.location}"
            )
        return tokens

    def _tokens(self, entry: int, start: int, stop: int | None) -> NDArray[np.generic]:
        document = int(self.order.documents[entry])
        size = int(self.dataset.index.sizes[document])
        stop = size if stop is None else stop
        if not start <= stop <= size:
            raise UserError(
                f"{self.origin} takes tokens {start} to {stop} of document {document} of {self.location}, which has "
                f"{size}; the maps belong to other documents"
            )
        return self.dataset.tokens(document, start, stop)


def open_index_mapped(
    documents: str | Path,
    *,
    seed: int,
    num_samples: int,
    row_tokens: int = PYTHIA_ROW_TOKENS,
    maps: str | Path | None = None,
    max_epochs: int | None = None,
) -> IndexMapped:
    """Open an unshuffled, tokenised corpus in the order that GPT-NeoX gives it.

    Every row comes from documents all over the corpus, so the corpus has to be on this machine; its shards are read in
    place.

    Args:
        documents: path of the `.bin` (or its shards) and `.idx`, without their ending.
        seed: of the shuffles.
        num_samples: rows that GPT-NeoX was told to lay out; it decides the number of epochs. 147164160 for Pythia.
        row_tokens: tokens per row.
        max_epochs: epochs that are expected at most: documents that need more are not those that are meant.
        maps: directory of the order's `.npy` files, or hf://datasets/OWNER/NAME, of which those of `seed` are fetched;
            None builds them, equal to GPT-NeoX's, and keeps them.

    Returns:
        All rows of the epochs that training needed, so a few more than `num_samples`.

    Raises:
        UserError: the corpus or the maps are not there, are damaged, or do not belong together.
    """
    if row_tokens < 2 or not 0 <= seed < 2**32:
        raise UserError(
            f"row_tokens={row_tokens} seed={seed}, but a row holds a token and the one that follows it, and a seed "
            f"lies "
            f"between 0 and 2^32 - 1; set both so"
        )
    dataset = read_indexed_dataset(Path(documents))
    if dataset.index.dtype != np.uint16:
        raise UserError(
            f"{documents}.idx says that tokens are {dataset.index.dtype}, expected uint16; have the corpus "
            f"preprocessed again, with a vocabulary below 65,500 tokens (GPT-NeoX then writes uint16)"
        )
    check_files(dataset.source)
    seq_length = row_tokens - 1
    epochs = (num_samples * seq_length + 1) / max(dataset.num_tokens, 1)
    if max_epochs is not None and epochs > max_epochs:
        raise UserError(
            f"{documents} has {dataset.num_tokens} tokens, which {num_samples} rows would read {epochs:.3g} times, "
            f"expected {max_epochs} at most; this is not the corpus that is meant"
        )
    wanted = {"seq_length": seq_length, "seed": seed, "num_samples": num_samples}
    if maps is not None:
        directory, origin = _fetched_maps(str(maps), seed) if is_remote(str(maps)) else (Path(maps), str(maps))
        order = _checked_order(dataset, find_maps(directory, **wanted), seq_length=seq_length, origin=origin)
        return IndexMapped(dataset, order, origin)
    directory = _built_maps(dataset, **wanted)
    try:
        order = _checked_order(dataset, find_maps(directory, **wanted), seq_length=seq_length, origin=str(directory))
    except UserError as error:
        raise UserError(
            f"the maps in {directory} are not what was built there ({str(error).partition(';')[0]}); remove it, and "
            f"they are built again"
        ) from error
    return IndexMapped(dataset, order, f"GPT-NeoX's order of {num_samples} samples, seed {seed}")


def _checked_order(dataset: IndexedDataset, maps: dict[str, Path], *, seq_length: int, origin: str) -> SampleOrder:
    order = load_order(maps, seq_length=seq_length)
    check_order(order, num_documents=len(dataset), origin=origin)
    check_windows(order, np.asarray(dataset.index.sizes), origin=origin)
    return order


def _built_maps(dataset: IndexedDataset, *, seed: int, num_samples: int, seq_length: int) -> Path:
    if dataset.num_tokens < 2:
        raise UserError(f"{dataset.source.location} has {dataset.num_tokens} tokens, too few for one row")
    sizes = np.asarray(dataset.index.sizes)
    identity = {"sizes": hashlib.sha256(sizes.data).hexdigest(), "seed": seed, "num_samples": num_samples}
    identity |= {"seq_length": seq_length, "code": hash_of_source("corpus.sample_order", "corpus")}
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    directory = cache_directory() / "orders" / name
    if directory.exists():
        return directory
    with exclusive(directory.with_suffix(".lock"), wait=True):
        if not directory.exists():
            log.info("building the order of %d documents, once; it is kept in %s", len(sizes), directory)
            order = sample_order(sizes, num_samples=num_samples, seq_length=seq_length, seed=seed)
            names = map_names("corpus", num_samples=num_samples, seq_length=seq_length, seed=seed)
            with atomic_directory(directory) as aside:
                save_order(order, aside, names)
    return directory


def lacking_map_bytes(location: str, seed: int) -> int:
    """Bytes of the maps of a seed that are yet to be fetched, as far as is known here. Asks nobody."""
    match = _HUB.fullmatch(location)
    if match is None:
        return 0
    repository = Repository(match["repository"], "dataset")
    listing = known_files(repository, match["revision"] or "main")
    if listing is None:
        return MAP_BYTES
    names = _maps_among(listing, seed)
    return left_bytes(repository, listing, names)


def _maps_among(listing: Listing, seed: int) -> list[str]:
    return [name for name in listing.files if fnmatchcase(name, f"seed{seed}/*_idx.npy")]


def _fetched_maps(location: str, seed: int) -> tuple[Path, str]:
    """A directory with the maps of a seed, in the hub's cache, for they are needed whole; and where they are from."""
    match = _HUB.fullmatch(location)
    if match is None:
        raise UserError(f"corpus.maps={location} is not understood; take a directory or hf://datasets/OWNER/NAME")
    repository = Repository(match["repository"], "dataset")
    remedy = "check the network, or leave corpus.maps out to build the maps"
    try:
        listing = list_files(repository, match["revision"] or "main")
    except OutOfReach as error:
        raise OutOfReach(f"{location} cannot be fetched ({error.reason}); {remedy}") from error
    names = _maps_among(listing, seed)
    if not names:
        raise UserError(f"{location} holds no maps seed{seed}/*_idx.npy; {remedy}")
    directory = fetch_files(repository, listing, names, where=f"{location}, the maps of seed {seed}", remedy=remedy)
    return directory / f"seed{seed}", f"{repository}@{listing.commit}"

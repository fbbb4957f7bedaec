"""The Pile in the orders in which Pythia's models read it.

Every model of the suite read one of two orders, standard or deduplicated, published as rows already in order
(EleutherAI/pile-{standard,deduped}-pythia-preshuffled: 21 shards, 600 GB; the Pile's parts have licences of their own).
The models of PolyPythias with seeds 1 to 9 read the standard Pile in nine further orders, of which index maps are
published (EleutherAI/pile-preshuffled-seeds), or can be built; they need the unshuffled corpus on this machine.

That the deduplicated Pile is read 1.5 times has no mark in the order: its documents are laid out twice and shuffled as
one, so there is no step at which a second epoch begins.
"""

from dataclasses import replace

from corpus.index_mapped import open_index_mapped
from corpus.opening import CACHE_GIB, open_corpus
from corpus.rows import PYTHIA_ROW_TOKENS, Corpus
from foundation import UserError

NUM_ROWS = 143_000 * 1024
NUM_SAMPLES = 147_164_160  # what GPT-NeoX laid out: ceil(1.005 * NUM_ROWS)
POLYPYTHIAS_SEEDS = range(1, 10)

DOCUMENTS = "hf://datasets/EleutherAI/pythia_pile_idxmaps"
_PRESHUFFLED = "hf://datasets/EleutherAI/pile-{}-pythia-preshuffled"


def open_pile(
    *,
    deduped: bool,
    seed: int = 0,
    location: str | None = None,
    revision: str | None = None,
    cache_gib: int = CACHE_GIB,
    documents: str | None = None,
    maps: str | None = None,
) -> Corpus:
    """Open the Pile in the order of a model.

    Args:
        deduped: the deduplicated Pile, or the standard one.
        seed: 0 is the order of the published suite; 1 to 9 those of PolyPythias.
        location: seed 0: of the preshuffled rows, as in `open_corpus`; None is the hub.
        revision: seed 0: of the hub's repository; None is what its main branch is now, and run.json records the commit.
        cache_gib: the most that fetched blocks may take on disk.
        documents: for seeds 1 to 9: path of the unshuffled `.bin` and `.idx`, without their ending.
        maps: for seeds 1 to 9: directory of the index maps, or their hub dataset; None builds them.

    Raises:
        UserError: the model's order is not known, or is not where it is said to be.
    """
    if seed == 0:
        if documents is not None or maps is not None:
            raise UserError(
                f"corpus.documents={documents} corpus.maps={maps} are for seeds 1 to 9; the order of seed 0 is "
                f"published as rows: set model.seed, or leave both out"
            )
        rows = open_corpus(
            location or _PRESHUFFLED.format("deduped" if deduped else "standard"),
            row_tokens=PYTHIA_ROW_TOKENS,
            num_rows=NUM_ROWS,
            revision=revision,
            cache_gib=cache_gib,
        )
        return replace(rows, layouts=2 if deduped else 1)
    if seed not in POLYPYTHIAS_SEEDS or deduped:
        raise UserError(
            f"deduped={deduped} seed={seed} is an order that no public model read; seeds 1 to 9 are of the standard "
            f"Pile (set model.deduped=false), the published suite is seed 0 (set model.seed=0)"
        )
    if location is not None or revision is not None:
        raise UserError(
            f"corpus.location={location} corpus.revision={revision} are for seed 0; the rows of seed={seed} are "
            f"gathered from corpus.documents: leave both out"
        )
    if documents is None:
        raise UserError(
            f"seed={seed} reads rows from all over the unshuffled standard Pile; set corpus.documents to the path of "
            f"its .bin and .idx on this machine, without their ending: they are {DOCUMENTS} (133 shards, 664 GB, and "
            f"the .idx)"
        )
    return open_index_mapped(documents, seed=seed, num_samples=NUM_SAMPLES, maps=maps, max_epochs=2)

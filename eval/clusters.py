"""Which examples are not independent of one another."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Label = TypeVar("Label", int, str)


def joined_clusters(labels: Sequence[Label], texts: Sequence[str]) -> list[Label]:
    """The label of each example's cluster, where examples with the same text are one cluster with all of its others.

    Benchmarks repeat some of their items: WinoBias has sentences that stand both in dev and in test.

    Args:
        labels: of the clusters that examples belong to anyhow; a joined cluster has the first of its labels.
        texts: of the examples; they count as the same in any case and spacing.
    """
    names, label = np.unique(labels, return_inverse=True)
    unified = [" ".join(text.casefold().split()) for text in texts]
    _, text = np.unique(unified, return_inverse=True)
    nodes = len(names) + int(text.max()) + 1
    edges = coo_array((np.ones(len(label)), (label, text + len(names))), shape=(nodes, nodes))
    _, component = connected_components(edges, directed=False)
    first: dict[int, Label] = {}
    return [first.setdefault(int(component[own]), name) for own, name in zip(label, labels, strict=True)]

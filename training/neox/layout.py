"""Which parameters a GPT-NeoX v1.0 model has, where its files keep them, and how model-parallel ranks are merged."""

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Merge = Literal["rows", "columns", "mean", "sum"]

# gpt-neox v1.0 megatron/model/transformer.py: `modules()` order within a layer
_LAYER_DECAYED: dict[str, Merge] = {
    "attention.query_key_value.weight": "rows",
    "attention.dense.weight": "columns",
    "mlp.dense_h_to_4h.weight": "rows",
    "mlp.dense_4h_to_h.weight": "columns",
}
_LAYER_NOT_DECAYED: dict[str, Merge] = {
    "input_layernorm.weight": "mean",
    "input_layernorm.bias": "mean",
    "attention.query_key_value.bias": "rows",
    "attention.dense.bias": "sum",
    "post_attention_layernorm.weight": "mean",
    "post_attention_layernorm.bias": "mean",
    "mlp.dense_h_to_4h.bias": "rows",
    "mlp.dense_4h_to_h.bias": "sum",
}


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        layer: its place in the pipeline: the number of its layer file.
        key: its name in that file.
        name: its name in transformers 5.
        group: of the optimizer: 0 is decayed, 1 is not.
        merge: how the full parameter is made of those of the model-parallel ranks.
    """

    layer: int
    key: str
    name: str
    group: Literal[0, 1]
    merge: Merge


def layer_numbers(num_layers: int) -> list[int]:
    """Places in the pipeline that have parameters. The other two, 1 and num_layers + 2, are functions."""
    return [0, *range(2, num_layers + 2), num_layers + 3, num_layers + 4]


def num_layers_before(last: int) -> int:
    """Transformer layers of a pipeline whose last place is `last`."""
    return last - 4


def parameters(num_layers: int) -> list[Parameter]:
    """Every parameter of a model of `num_layers` layers in the order of the optimizer's flat vectors, group by group.

    gpt-neox v1.0 `megatron/model/utils.py:26-65` and `tools/convert_to_hf.py:136-253`.
    """

    def of_layers(keys: dict[str, Merge], group: Literal[0, 1]) -> list[Parameter]:
        return [
            Parameter(layer + 2, key, f"gpt_neox.layers.{layer}.{key}", group, merge)
            for layer in range(num_layers)
            for key, merge in keys.items()
        ]

    norm, head = num_layers + 3, num_layers + 4
    return [
        Parameter(0, "word_embeddings.weight", "gpt_neox.embed_in.weight", 0, "rows"),
        *of_layers(_LAYER_DECAYED, 0),
        Parameter(head, "final_linear.weight", "lm_head.weight", 0, "rows"),
        *of_layers(_LAYER_NOT_DECAYED, 1),
        Parameter(norm, "norm.weight", "gpt_neox.final_layer_norm.weight", 1, "mean"),
        Parameter(norm, "norm.bias", "gpt_neox.final_layer_norm.bias", 1, "mean"),
    ]


def rank_shape(parameter: Parameter, *, hidden: int, inner: int, vocab: int, ranks: int) -> tuple[int, ...]:
    """Shape of a parameter on each of `ranks` model-parallel ranks.

    Args:
        hidden: width of the residual stream.
        inner: width of the MLP, over all ranks.
        vocab: rows of the embedding, over all ranks.
    """
    module, kind = parameter.key.rsplit(".", maxsplit=1)
    rows, columns = {
        "word_embeddings": (vocab, hidden),
        "final_linear": (vocab, hidden),
        "attention.query_key_value": (3 * hidden, hidden),
        "attention.dense": (hidden, hidden),
        "mlp.dense_h_to_4h": (inner, hidden),
        "mlp.dense_4h_to_h": (hidden, inner),
    }.get(module, (hidden, 0))
    if parameter.merge == "rows":
        rows //= ranks
    if parameter.merge == "columns":
        columns //= ranks
    return (rows, columns) if kind == "weight" and columns else (rows,)


def merge_weights(parts: Sequence[Tensor], merge: Merge) -> Tensor:
    """The full half-precision parameter, rounded where the published conversions rounded: after every addition.

    gpt-neox v1.0 `tools/convert_to_hf.py`.
    """
    if merge in ("rows", "columns") or len(parts) == 1:
        return _concatenated(parts, merge)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / len(parts) if merge == "mean" else total


def merge_masters(parts: Sequence[Tensor], merge: Merge) -> Tensor:
    """The full fp32 parameter, rounded once.

    The biases of row-parallel layers are parameters of their own on every rank, summed in the forward pass.
    """
    if merge in ("rows", "columns") or len(parts) == 1:
        return _concatenated(parts, merge)
    stacked = torch.stack([part.double() for part in parts])
    return (stacked.mean(0) if merge == "mean" else stacked.sum(0)).float()


def merge_moments(parts: Sequence[Tensor], merge: Merge) -> Tensor:
    """The full parameter's moments. Those of summed biases are the ranks' mean: all ranks get the same gradient."""
    return merge_masters(parts, "mean" if merge == "sum" else merge)


def _concatenated(parts: Sequence[Tensor], merge: Merge) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1 if merge == "columns" else 0)


class FlatVector:
    """The concatenated parameters of an optimizer group, left in the pieces that the files hold them in."""

    def __init__(self, pieces: Sequence[Tensor]) -> None:
        self._pieces = [piece for piece in pieces if piece.numel()]
        self._ends = list(itertools.accumulate(piece.numel() for piece in self._pieces))

    def cut(self, start: int, shape: Sequence[int]) -> Tensor:
        """The elements from `start` in this shape: a view where they lie in one piece, else a copy."""
        stop = start + torch.Size(shape).numel()
        parts = []
        index = bisect.bisect_right(self._ends, start)
        while start < stop:
            piece, end = self._pieces[index], self._ends[index]
            begin = end - piece.numel()
            parts.append(piece[start - begin : min(stop, end) - begin])
            start, index = end, index + 1
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).view(tuple(shape))

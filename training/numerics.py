"""What GPT-NeoX v1.0 computed otherwise than transformers does: an approximate GELU, rotary tables in half precision.

Pythia was trained with both. `rope` has no place in transformers' config: a model that is loaded again has fp32 tables
until `set_numerics` is called again. `activation` is saved, as `hidden_act`.

Under fp16 autocast take `attn_implementation="sdpa"`, transformers' default: it holds q·k in fp32. "eager" rounds q·k
to fp16 before it scales it, and turns NaN where q·k passes 65,504. The residual stream is fp32 under autocast and does
not overflow; the output of a linear layer can, and so can the sum of MLP and attention, which is taken in fp16 before
the residual is added.
"""

from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import nn
from transformers import GPTNeoXForCausalLM
from transformers.activations import ACT2FN
from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXMLP, GPTNeoXRotaryEmbedding

from foundation import UserError

Activation = Literal["erf", "tanh"]
Rope = Literal["fp32", "neox_fp16", "neox_bf16"]

_HIDDEN_ACT: dict[Activation, str] = {"erf": "gelu", "tanh": "gelu_pytorch_tanh"}
_TABLE_DTYPE: dict[Rope, torch.dtype] = {"neox_fp16": torch.float16, "neox_bf16": torch.bfloat16}


@dataclass
class Numerics:
    """What a forward pass computes, where GPT-NeoX and transformers differ.

    Attributes:
        activation: `erf` is GELU itself, `tanh` the approximation that GPT-NeoX fuses with the bias.
        rope: the number format of the rotary tables, and of all that leads to them.
    """

    activation: str
    rope: str


def set_numerics(model: GPTNeoXForCausalLM, *, activation: Activation, rope: Rope) -> None:
    """Change in place what `model` computes. Every change can be taken back, bit for bit.

    Raises:
        UserError: an option is unknown, the model's own activation is no GELU of the two, or its rotary embedding is
            scaled, as GPT-NeoX v1.0's never was. The model is then as it was.
    """
    for option, value, known in [("activation", activation, Activation), ("rope", rope, Rope)]:
        if value not in get_args(known):
            raise UserError(f"{option}={value} is unknown; known are {', '.join(get_args(known))}")
    now = numerics_of(model)
    if rope != now.rope:
        rotary = _rotary_embedding(model, rope)
        model.gpt_neox.rotary_emb = rotary  # type: ignore[assignment]  # any module of its interface serves
    if activation != now.activation:
        for mlp in _mlps(model):
            mlp.act = ACT2FN[_HIDDEN_ACT[activation]]
    model.config.hidden_act = _HIDDEN_ACT[activation]


def numerics_of(model: GPTNeoXForCausalLM) -> Numerics:
    """What `model` computes: the modules are asked, not the config.

    Raises:
        UserError: its activation is no GELU of the two, or differs between layers.
    """
    known = {type(ACT2FN[hidden_act]): activation for activation, hidden_act in _HIDDEN_ACT.items()}
    activations = {known.get(type(mlp.act)) for mlp in _mlps(model)}
    activation = activations.pop()
    if activation is None or activations:
        raise UserError(
            f"hidden_act={model.config.hidden_act} is not what a Pythia computes in every layer: "
            f"{' or '.join(_HIDDEN_ACT.values())}; correct the model's config.json"
        )
    rotary: nn.Module = model.gpt_neox.rotary_emb
    return Numerics(activation, rotary.rope if isinstance(rotary, HalfPrecisionRotaryEmbedding) else "fp32")


def _mlps(model: GPTNeoXForCausalLM) -> list[GPTNeoXMLP]:
    return [cast(GPTNeoXMLP, layer.mlp) for layer in model.gpt_neox.layers]


def _rotary_embedding(model: GPTNeoXForCausalLM, rope: Rope) -> nn.Module:
    rotary: nn.Module = model.gpt_neox.rotary_emb
    original = rotary.original if isinstance(rotary, HalfPrecisionRotaryEmbedding) else model.gpt_neox.rotary_emb
    if rope == "fp32":
        return original
    if original.rope_type != "default":
        raise UserError(
            f"training.numerics.rope={rope} is for plain rotary embeddings; for rope_type={original.rope_type} take "
            f"training.numerics.rope=fp32 and model.numerics.rope=fp32"
        )
    return HalfPrecisionRotaryEmbedding(original, rope)


class HalfPrecisionRotaryEmbedding(nn.Module):
    """Cosines and sines as GPT-NeoX v1.0 took them, after its buffers had been cast to half precision.

    Inverse frequencies, positions, angles, and the cosines and sines of those are each rounded to the format. Positions
    above 2,048 (fp16) or 256 (bf16) are therefore not exact, and neighbours share their angles. The tables are made
    once, on the CPU, and looked up: so every device sees the same numbers, and so does compiled code, which would leave
    out roundings between fused operations. They are held in fp32 and are no part of the state dict.

    Where q * cos + rotate_half(q) * sin is computed:
        under autocast to the tables' own format: in it, as by GPT-NeoX;
        under autocast to another format: in fp32, which spares the tables a second rounding;
        without autocast: in the format of the hidden states.

    The tables reach to `max_position_embeddings`, or over the longest sequence yet seen; a later position, which only
    decoding with a cache or positions of one's own can ask for, is out of their range.

    Attributes:
        original: the embedding that this one replaces.
    """

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, original: GPTNeoXRotaryEmbedding, rope: Rope) -> None:
        super().__init__()
        self.original = original
        self.rope = rope
        self.dtype = _TABLE_DTYPE[rope]
        self._set_tables(original.config.max_position_embeddings)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _set_tables(self, positions: int) -> None:
        """Hold the cosines and sines of so many positions, each [positions, rotary_dims]."""
        with torch.device("cpu"):
            inv_freq, _ = self.original.compute_default_rope_parameters(self.original.config)
            angles = torch.arange(positions).to(self.dtype)[:, None] * inv_freq.to(self.dtype)
        angles = torch.cat((angles, angles), dim=-1).double()  # in float64 no libm is near enough to a tie to matter
        for name, table in [("cos", angles.cos()), ("sin", angles.sin())]:
            values = table.float().to(self.dtype).float()
            self.register_buffer(name, values.to(self.original.inv_freq.device), persistent=False)

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines, each [..., sequence, rotary_dims], at `position_ids` [..., sequence]."""
        if position_ids.shape[-1] > self.cos.shape[0]:
            self._set_tables(position_ids.shape[-1])
        dtype, device = x.dtype, x.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            dtype = self.dtype if torch.get_autocast_dtype(device) == self.dtype else torch.float32
        return self.cos[position_ids].to(dtype), self.sin[position_ids].to(dtype)

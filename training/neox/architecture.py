"""The model's architecture: from the shapes of its tensors, the arguments stored with them, and the configuration."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from foundation import UserError

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)
_SETTING = re.compile(r"""["']?\b([A-Za-z][\w-]*)["']?\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)'|([-+.\w]+))""")
_READ = {
    "activation",
    "gpt_j_residual",
    "gpt_j_tied",
    "hidden_size",
    "max_position_embeddings",
    "model_parallel_size",
    "no_weight_tying",
    "norm",
    "num_attention_heads",
    "num_layers",
    "padded_vocab_size",
    "pos_emb",
    "rotary_emb_base",
    "rotary_pct",
    "seq_length",
}
_PYTHIA = {
    "activation": "gelu",
    "gpt_j_residual": "true",
    "gpt_j_tied": "false",
    "no_weight_tying": "true",
    "norm": "layernorm",
    "pos_emb": "rotary",
}


@dataclass(frozen=True)
class NeoxArchitecture:
    """What transformers' `GPTNeoXConfig` needs to know, in GPT-NeoX's words; the rest is the same for all of Pythia.

    Attributes:
        intermediate_size: width of the MLP.
        rotary_pct: share of every head's dimensions that is rotated.
        rotary_emb_base: base of the rotary frequencies.
        vocab_size: rows of the embedding: padded to a multiple of 128 times the model-parallel size.
    """

    hidden_size: int
    num_layers: int
    num_attention_heads: int
    intermediate_size: int
    rotary_pct: float
    rotary_emb_base: float
    vocab_size: int
    max_position_embeddings: int


@dataclass(frozen=True)
class Shapes:
    """What the tensors tell by themselves.

    Attributes:
        frequencies: length of the stored rotary `inv_freq`, half the rotated dimensions; None where none is stored.
    """

    hidden_size: int
    num_layers: int
    intermediate_size: int
    vocab_size: int
    model_parallel_size: int
    frequencies: int | None


class Settings:
    """Arguments by name: those stored in the checkpoint before those of its configuration files."""

    def __init__(self, arguments: object, directory: Path) -> None:
        self._where = directory
        self._values = _configured(directory)
        if isinstance(arguments, Mapping):
            stored = {str(key).replace("-", "_"): value for key, value in arguments.items() if value is not None}
            self._values |= {key: str(value) for key, value in stored.items() if key in _READ}
        for key, expected in _PYTHIA.items():
            given = self._values.get(key, expected).lower()
            if given != expected:
                raise UserError(f"{directory} says {key}={given}, Pythia has {expected}; take a Pythia checkpoint")

    def number(self, *keys: str) -> float | None:
        """The first of `keys` that is given, as a number."""
        for key in keys:
            if key in self._values:
                try:
                    return float(self._values[key])
                except ValueError:
                    raise UserError(
                        f"{self._where} says {key}={self._values[key]}, a number is expected; mend its configs/*.yml"
                    ) from None
        return None

    def required(self, *keys: str) -> float:
        """The first of `keys` that is given, or UserError."""
        value = self.number(*keys)
        if value is None:
            raise UserError(
                f"{self._where} does not say {keys[0]}: it is neither in the arguments of mp_rank_00_model_states.pt "
                f"nor in configs/*.yml; put the model's .yml from EleutherAI/pythia into {self._where / 'configs'}"
            )
        return value


def _configured(directory: Path) -> dict[str, str]:
    """Settings of the configuration files, which are YAML that looks like JSON, with comments and missing commas."""
    values: dict[str, str] = {}
    origin: dict[str, Path] = {}
    folders = [directory / "configs", directory.parent / "configs"]
    for file in next((files for folder in folders if (files := sorted(folder.glob("*.y*ml")))), []):
        for match in _SETTING.finditer(_COMMENT.sub("", file.read_text(encoding="utf-8", errors="replace"))):
            key = match[1].replace("-", "_")
            value = next(group for group in match.groups()[1:] if group is not None)
            if key not in _READ:
                continue
            if values.setdefault(key, value) != value:
                raise UserError(
                    f"{file} says {key}={value}, {origin[key]} says {values[key]}; keep the file of this model only"
                )
            origin.setdefault(key, file)
    return values


def read_architecture(arguments: object, shapes: Shapes, *, directory: Path) -> NeoxArchitecture:
    """Put together what the tensors, the stored arguments and the configuration say.

    gpt-neox v1.0 `megatron/checkpointing.py` (`args`), `megatron/model/transformer.py` (rotary dimensions).

    Args:
        arguments: `args` of `mp_rank_00_model_states.pt`, where it is there.
        shapes: of the tensors.
        directory: `global_step<N>`, with `configs/*.yml` in it or beside it.

    Raises:
        UserError: two of them contradict each other, or none says what is needed.
    """
    settings = Settings(arguments, directory)
    for key, found in (
        ("num_layers", shapes.num_layers),
        ("hidden_size", shapes.hidden_size),
        ("padded_vocab_size", shapes.vocab_size),
        ("model_parallel_size", shapes.model_parallel_size),
    ):
        said = settings.number(key)
        if said is not None and said != found:
            raise UserError(f"{directory} says {key}={said:g}, its tensors say {found}; fetch the checkpoint again")
    heads = int(settings.required("num_attention_heads"))
    if heads < 1 or shapes.hidden_size % heads or heads % shapes.model_parallel_size:
        raise UserError(
            f"{directory} says num_attention_heads={heads}, which does not divide hidden_size={shapes.hidden_size} "
            f"over model_parallel_size={shapes.model_parallel_size}; mend its configs/*.yml"
        )
    head_size = shapes.hidden_size // heads
    if shapes.frequencies is None:
        rotary_pct = settings.required("rotary_pct")
    else:
        said = settings.number("rotary_pct")
        rotary_pct = 2 * shapes.frequencies / head_size if said is None else said
        if int(head_size * rotary_pct) != 2 * shapes.frequencies or rotary_pct > 1:
            raise UserError(
                f"{directory} says num_attention_heads={heads} and rotary_pct={rotary_pct:g}: "
                f"{int(head_size * rotary_pct)} of {head_size} dimensions rotated, but its layers store "
                f"{shapes.frequencies} frequencies, which rotate {2 * shapes.frequencies}; mend its configs/*.yml"
            )
    return NeoxArchitecture(
        hidden_size=shapes.hidden_size,
        num_layers=shapes.num_layers,
        num_attention_heads=heads,
        intermediate_size=shapes.intermediate_size,
        rotary_pct=rotary_pct,
        rotary_emb_base=settings.number("rotary_emb_base") or 10000.0,
        vocab_size=shapes.vocab_size,
        max_position_embeddings=int(settings.required("max_position_embeddings", "seq_length")),
    )

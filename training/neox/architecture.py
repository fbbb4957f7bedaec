"""The model's architecture: from the shapes of its tensors, the arguments stored with them, and the configuration."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from foundation import UserError

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)
_SETTING = re.compile(r"""["']?\b([A-Za-z][\w-]*)["']?\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)'|([-+.\w]+))""")
_ATTENTION = re.compile(r"""["']?\battention[-_]config["']?\s*:\s*([^:}]*\])""")
_LOOKS_AT_ALL = {"global", "flash"}  # kinds of attention: all else, as local and sparse ones, is not Pythia's
ROTARY_PCT = 0.25
ROTARY_EMB_BASE = 10000.0

# GPT-NeoX's own names of what decides numbers, with Pythia's values
_PYTHIA: dict[str, str | bool | float] = {
    "activation": "gelu",
    "attention_dropout": 0.0,
    "gpt_j_residual": True,
    "gpt_j_tied": False,
    "hidden_dropout": 0.0,
    "layernorm_epsilon": 1e-5,
    "no_weight_tying": True,
    "norm": "layernorm",
    "pos_emb": "rotary",
    "rotary_emb_base": ROTARY_EMB_BASE,
    "rotary_pct": ROTARY_PCT,
}
_READ = {
    *_PYTHIA,
    "attention_config",
    "hidden_size",
    "max_position_embeddings",
    "model_parallel_size",
    "num_attention_heads",
    "num_layers",
    "padded_vocab_size",
    "seq_length",
}
_NEAR = 0.01  # between a stored frequency and the one that it should be: half precision rounds it by less


@dataclass(frozen=True)
class NeoxArchitecture:
    """What transformers' `GPTNeoXConfig` needs to know, in GPT-NeoX's words; the rest is the same for all of Pythia.

    Attributes:
        intermediate_size: width of the MLP.
        vocab_size: rows of the embedding: padded to a multiple of 128 times the model-parallel size.
    """

    hidden_size: int
    num_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int


@dataclass(frozen=True)
class Shapes:
    """What the tensors tell by themselves.

    Attributes:
        frequencies: the stored rotary `inv_freq`, one for every two rotated dimensions; None where none is stored.
    """

    hidden_size: int
    num_layers: int
    intermediate_size: int
    vocab_size: int
    model_parallel_size: int
    frequencies: tuple[float, ...] | None


class Settings:
    """Arguments by name: those stored in the checkpoint before those of its configuration files."""

    def __init__(self, arguments: object, directory: Path) -> None:
        self._where = directory
        self._values = _configured(directory)
        if isinstance(arguments, Mapping):
            stored = {str(key).replace("-", "_"): value for key, value in arguments.items() if value is not None}
            self._values |= {key: str(value) for key, value in stored.items() if key in _READ}
        for key, expected in _PYTHIA.items():
            given = self._values.get(key)
            if given is not None and not _is(given, expected):
                raise UserError(f"{directory} says {key}={given}, Pythia has {expected}; take a Pythia checkpoint")
        kinds = set(re.findall(r"[A-Za-z]\w*", self._values.get("attention_config", "")))
        if kinds - _LOOKS_AT_ALL:
            raise UserError(
                f"{directory} says attention_config={' and '.join(sorted(kinds))}, Pythia has global or flash; take a "
                f"Pythia checkpoint"
            )

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


def _is(given: str, expected: str | bool | float) -> bool:
    """Whether two values of a setting are the same, however they are written: 0 is 0.0, and True is true."""
    try:
        return float(given) == float(expected)
    except ValueError:
        return given.lower() == str(expected).lower()


def _configured(directory: Path) -> dict[str, str]:
    """Settings of the configuration files, which are YAML that looks like JSON, with comments and missing commas."""
    values: dict[str, str] = {}
    origin: dict[str, Path] = {}
    folders = [directory / "configs", directory.parent / "configs"]
    for file in next((files for folder in folders if (files := sorted(folder.glob("*.y*ml")))), []):
        for key, value in _settings(_COMMENT.sub("", file.read_text(encoding="utf-8", errors="replace"))):
            if not _is(value, values.setdefault(key, value)):
                raise UserError(
                    f"{file} says {key}={value}, {origin[key]} says {values[key]}; keep the file of this model only"
                )
            origin.setdefault(key, file)
    return values


def _settings(text: str) -> Iterator[tuple[str, str]]:
    """What a configuration says of what is read here."""
    for match in _SETTING.finditer(text):
        key = match[1].replace("-", "_")
        if key in _READ:
            yield key, next(group for group in match.groups()[1:] if group is not None)
    for match in _ATTENTION.finditer(text):
        yield "attention_config", re.sub(r"\s", "", match[1])


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
    _check_rotation(settings, shapes, head_size=shapes.hidden_size // heads, directory=directory)
    return NeoxArchitecture(
        hidden_size=shapes.hidden_size,
        num_layers=shapes.num_layers,
        num_attention_heads=heads,
        intermediate_size=shapes.intermediate_size,
        vocab_size=shapes.vocab_size,
        max_position_embeddings=int(settings.required("max_position_embeddings", "seq_length")),
    )


def _check_rotation(settings: Settings, shapes: Shapes, *, head_size: int, directory: Path) -> None:
    """Raise UserError where the stored frequencies are not Pythia's; where none are, GPT-NeoX's default is not."""
    if shapes.frequencies is None:
        settings.required("rotary_pct")
        return
    dims = int(head_size * ROTARY_PCT)
    if 2 * len(shapes.frequencies) != dims:
        raise UserError(
            f"{directory}: its layers store {len(shapes.frequencies)} frequencies, which rotate "
            f"{2 * len(shapes.frequencies)} of {head_size} dimensions of a head, Pythia rotates {dims}; mend "
            f"num_attention_heads in its configs/*.yml, or take a Pythia checkpoint"
        )
    for place, found in enumerate(shapes.frequencies):
        expected = ROTARY_EMB_BASE ** (-2 * place / dims)
        if abs(found / expected - 1) > _NEAR:
            raise UserError(
                f"{directory}: its layers store the rotary frequency {found:.4g} at place {place}, Pythia has "
                f"{expected:.4g}; take a Pythia checkpoint"
            )

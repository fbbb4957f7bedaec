"""What each field of a GPT-NeoX's config.json decides, and what Pythia has where it decides numbers.

A model whose config says otherwise computes something else than a Pythia: with dropout two arms that read the same
batches end apart, and a killed run ends elsewhere than one that was not. Such a model is refused. A field that stands
in none of the three lists is refused too, for nobody has looked at what it does.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, GPTNeoXConfig

from foundation import UserError

# Decides numbers: the values that Pythia has. The kit sets the activation itself (`training.numerics`), so that a
# checkpoint may name either of the two that a Pythia has been given.
PYTHIA: dict[str, tuple[object, ...]] = {
    "model_type": ("gpt_neox",),
    "hidden_act": ("gelu", "gelu_pytorch_tanh"),
    "attention_dropout": (0.0,),
    "hidden_dropout": (0.0,),
    "layer_norm_eps": (1e-5,),
    "use_parallel_residual": (True,),
    "attention_bias": (True,),
    "tie_word_embeddings": (False,),
    "rope_parameters": ({"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},),
    "is_encoder_decoder": (False,),
    "chunk_size_feed_forward": (0,),
    "output_attentions": (False,),
    "return_dict": (True,),
}

# Decides shapes, which the weights are checked against, or what the model was made for.
SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)

# Decides nothing here, and why.
WITHOUT_EFFECT = {
    "_name_or_path": "where the model once lay",
    "architectures": "the kit loads a GPTNeoXForCausalLM, whatever it says",
    "transformers_version": "that wrote the file",
    "dtype": "the kit computes in fp32, or in the precision that the run sets",
    "initializer_range": "no weight is drawn: the files must hold every one",
    "classifier_dropout": "only models that classify have it",
    "id2label": "only models that classify have labels",
    "label2id": "only models that classify have labels",
    "problem_type": "only models that classify have one",
    "is_decoder": "a GPT-NeoX looks back alone either way",
    "use_cache": "the keys and values that decoding keeps are those that it would compute again",
    "output_hidden_states": "they are returned beside the logits",
    "bos_token_id": "the tokenizer's is taken, and the embedding has no row of its own for it",
    "eos_token_id": "the tokenizer's is taken, and the embedding has no row of its own for it",
    "pad_token_id": "the embedding has no row of its own for it, and what is padded is masked",
}

# Keys of config.json that are no fields of their own, in the spelling of older versions and of other libraries.
# Of the first transformers reads some into `rope_parameters` and passes over others in silence.
_OLD_SPELLINGS = {"rotary_pct": 0.25, "partial_rotary_factor": 0.25, "rotary_emb_base": 10000, "rope_theta": 10000}
_READ_INTO_FIELDS = ("rope_scaling", "torch_dtype")
_ALSO_WITHOUT_EFFECT = (
    *("name_or_path", "_commit_hash", "_attn_implementation_autoset", "num_labels", "use_return_dict"),
    *("tokenizer_class", "finetuning_task", "task_specific_params", "prefix", "unsloth_fixed", "unsloth_version"),
    *("sep_token_id", "decoder_start_token_id", "cross_attention_hidden_size", "add_cross_attention", "pruned_heads"),
    *("tie_encoder_decoder", "torchscript", "use_bfloat16", "tf_legacy_loss", "gradient_checkpointing"),
)

_FP32 = 2**-24  # to which a number is rounded there, of its size


def check_known_keys(content: Mapping[str, Any], path: Path) -> None:
    """Raise UserError where a config.json sets something of which it is not known what it does, or that is not read.

    Args:
        content: of the file.
        path: its name.
    """
    of_generation = GenerationConfig().to_dict()
    known = {*PYTHIA, *SIZES, *WITHOUT_EFFECT, *_READ_INTO_FIELDS, *_ALSO_WITHOUT_EFFECT, *of_generation}
    for key, value in content.items():
        if key in _OLD_SPELLINGS and value not in (None, _OLD_SPELLINGS[key]):
            raise UserError(_why_not_pythia(path, key, value, (_OLD_SPELLINGS[key],)))
        if key not in known | _OLD_SPELLINGS.keys() and value is not None:
            raise UserError(
                f"{path} sets {key}={value!r}, which no Pythia has and which may change what the model computes; take "
                f"the model as Pythia publishes it, or remove {key} from the file if it changes nothing"
            )


def check_computes_as_pythia(config: GPTNeoXConfig, path: Path) -> None:
    """Raise UserError where a model of `config` would compute something else than a Pythia of its sizes.

    Args:
        path: the config.json that it was read from.
    """
    for field, values in PYTHIA.items():
        found = getattr(config, field)
        if isinstance(found, Mapping):  # older versions write the rotary embedding's type twice
            found = {key: value for key, value in found.items() if value is not None and key != "type"}
        if not any(_is_same(found, value) for value in values):
            raise UserError(_why_not_pythia(path, field, found, values))


def _is_same(found: object, value: object) -> bool:
    """Whether two values of a field compute the same; a file may have been through fp32, which rounds."""
    if isinstance(found, float) and isinstance(value, float):
        return math.isclose(found, value, rel_tol=_FP32)
    return found == value


def _why_not_pythia(path: Path, key: str, found: object, values: tuple[object, ...]) -> str:
    return (
        f"{path} says {key}={found!r}, Pythia has {' or '.join(map(repr, values))}: this model computes something else "
        f"than a Pythia; take a Pythia, or correct the file if the model was trained with Pythia's"
    )

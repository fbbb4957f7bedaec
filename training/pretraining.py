"""A suite of checkpoints that the kit pre-trains itself: the miniature that shows the whole method without a hub."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from foundation import UserError, cache_directory, exclusive, read_kept, remove_directory, remove_leftovers, write_kept
from training.checkpoint import Checkpoint, saved_steps
from training.loop import train
from training.neox.architecture import ROTARY_PCT
from training.numerics import Numerics, set_numerics
from training.published import checkpoint_steps
from training.recipe import Recipe
from training.trainer import Batch

log = logging.getLogger(__name__)

_PLAN = "plan.json"


@dataclass
class Pretraining:
    """A suite to be made, in GPT-NeoX's spelling.

    Attributes:
        hidden_size: width of the residual stream.
        num_layers: transformer layers.
        num_attention_heads: heads in each layer.
        max_position_embeddings: tokens that an input of a benchmark may have. Rows of the corpus may be shorter; later
            positions are untrained then.
        train_iters: updates of the whole suite.
        checkpoint_every: steps between checkpoints, apart from those at 0, 1, 2, 4, ... 512.
        seed: of the initial weights.

    Raises:
        UserError: a value makes no sense.
    """

    hidden_size: int
    num_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    train_iters: int
    checkpoint_every: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("hidden_size", "num_layers", "num_attention_heads", "train_iters", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise UserError(f"model.pretraining.{name}={getattr(self, name)}, but it must be 1 or more")
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"model.pretraining.hidden_size={self.hidden_size} is no multiple of "
                f"model.pretraining.num_attention_heads={self.num_attention_heads}; change one of them"
            )
        head = self.hidden_size // self.num_attention_heads
        rotated = int(head * ROTARY_PCT)
        if rotated < 2 or rotated % 2:
            raise UserError(
                f"hidden_size={self.hidden_size} num_attention_heads={self.num_attention_heads} makes heads of {head} "
                f"dimensions, of which Pythia would rotate {rotated}, but it must be an even number, 2 or more; take a "
                f"multiple of 8 for each head"
            )
        if self.seed < 0:
            raise UserError(f"model.pretraining.seed={self.seed}, but it must be 0 or more")


def pretrained_suite(
    pretraining: Pretraining,
    *,
    recipe: Recipe,
    numerics: Numerics,
    micro_batch: int,
    tokenizer_file: Path,
    seq_length: int,
    corpus_sha256: str,
    batch_at: Callable[[int], Batch],
    device: torch.device,
    made_with: Mapping[str, Any],
) -> Path:
    """Directory of the suite's checkpoints, pre-trained in fp32 first where the cache does not hold them all.

    A killed build goes on from its latest checkpoint. Two processes may start together; one builds, the other waits.

    Args:
        tokenizer_file: the tokenizer.json that made the corpus; every checkpoint carries it.
        seq_length: tokens predicted per row of the corpus.
        corpus_sha256: of the corpus' bytes: another corpus makes another suite.
        batch_at: the batch of a step.
        made_with: what the bits depend on beside the plan, kept with the suite for `suite_made_with`.
    """
    if seq_length > pretraining.max_position_embeddings:
        raise UserError(
            f"model.pretraining.max_position_embeddings={pretraining.max_position_embeddings}, but the corpus's rows "
            f"have {seq_length} tokens that are inputs; set it to {seq_length} or more"
        )
    plan = {"pretraining": asdict(pretraining), "recipe": asdict(recipe), "micro_batch": micro_batch}
    plan |= {"numerics": asdict(numerics), "corpus_sha256": corpus_sha256}
    identity = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    directory = cache_directory() / "suites" / identity[:16]
    steps = checkpoint_steps(pretraining.train_iters, pretraining.checkpoint_every)
    if saved_steps(directory) == steps:
        return directory
    with exclusive(directory.with_suffix(".lock"), wait=True):
        if saved_steps(directory) != steps:
            directory.mkdir(parents=True, exist_ok=True)
            remove_leftovers(directory)
            _remove_after_gap(directory, steps)
            known = (suite_made_with(directory) or [{}]) if saved_steps(directory) else []
            makers = [*known, *([] if made_with in known else [made_with])]
            write_kept(directory / _PLAN, plan | {"made_with": makers})
            log.info("pre-training a suite of %d checkpoints, once; it is kept in %s", len(steps), directory)
            train(
                _initial_checkpoint(pretraining, numerics, tokenizer_file, directory),
                stop=pretraining.train_iters,
                batch_at=batch_at,
                recipe=recipe,
                precision="fp32",
                micro_batch=micro_batch,
                device=device,
                checkpoints=directory,
                save_at=steps,
                keep=None,
                journal=directory / "train.jsonl",
                description="pre-training the suite",
            )
    return directory


def suite_made_with(directory: Path) -> list[dict[str, Any]] | None:
    """What each start had that made a part of a suite; None where it was not written down, or is damaged."""
    found = (read_kept(directory / _PLAN) or {}).get("made_with")
    return found if isinstance(found, list) else None


def _remove_after_gap(directory: Path, steps: list[int]) -> None:
    """Remove the checkpoints that follow a missing one, so that training makes it again and them too."""
    for step, expected in zip(saved_steps(directory), steps, strict=False):  # behind a gap they no longer agree
        if step != expected:
            remove_directory(directory / f"step{step}")


def _initial_checkpoint(
    pretraining: Pretraining, numerics: Numerics, tokenizer_file: Path, directory: Path
) -> Checkpoint:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer_file),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=pretraining.hidden_size,
        num_hidden_layers=pretraining.num_layers,
        num_attention_heads=pretraining.num_attention_heads,
        intermediate_size=4 * pretraining.hidden_size,
        max_position_embeddings=pretraining.max_position_embeddings,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": ROTARY_PCT,
        },
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
        use_cache=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(pretraining.seed)
        model = GPTNeoXForCausalLM(config)
    set_numerics(model, **asdict(numerics))
    return Checkpoint(model, tokenizer, None, {}, 0, directory / "step0")

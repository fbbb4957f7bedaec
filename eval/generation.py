"""Greedy continuations of prompts under a GPT-NeoX model, as far as they are scored.

In the shape descriptions `R` denotes the prompts of a batch that still go on (rows), `T` their length in tokens, `D`
the hidden width and `V` the vocabulary with its padding.

A prompt is read as it is, without `<|endoftext|>` before it, and the most likely token is taken again and again: up to
the end of the document, to a number of tokens, or until as many words are complete as are looked at. That is what
GPT-NeoX's evaluation adapter does (eval_tasks/eval_adapter.py, `greedy_until` with temperature 0), which goes on past
the words that are scored. What differs on purpose: the output projection is in float32 whatever the model's precision
is, as in `eval.likelihood`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm
from transformers import DynamicCache, GPTNeoXForCausalLM, PreTrainedTokenizerBase

from eval.likelihood import Projection, encode, eval_mode, output_projection
from foundation import UserError


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ask for the greedy continuation of a text, of which the first `words` words are looked at; see `first_words`."""

    text: str
    words: int


def first_words(output: str, words: int) -> str:
    """The first words of an output that is stripped of white space; only single spaces separate words, no newlines."""
    return " ".join(output.strip().split(" ")[:words])


def is_complete(output: str, words: int) -> bool:
    """Whether nothing that follows can change the first words of an output."""
    # A character some of whose bytes are still to come is decoded as U+FFFD; it may turn out to be white space.
    return len(output.rstrip("\ufffd").strip().split(" ")) > words


def generate(
    model: GPTNeoXForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    model_name: str = "the model",
    max_new_tokens: int = 128,
    tokens_per_batch: int = 8192,
    progress: bool | None,
) -> list[str]:
    """The continuation of each prompt, in the order given, without the end-of-document token and special tokens.

    It ends at the end of the document, after `max_new_tokens`, or with the token that completes the prompt's words.
    Prompts of equal length are continued together, so that there is no padding and no mask: what a prompt gets depends
    on its company only through the rounding of sums, which decides between tokens that are as good as tied.

    Args:
        model: read on its own device and in its own precision; its train or eval state is restored.
        tokenizer: the one that the model was trained with.
        prompts: in any order; no text is empty.
        model_name: what messages call the model.
        max_new_tokens: of each prompt.
        tokens_per_batch: bounds rows times prompt length; a longer prompt goes alone. The key-value cache then grows
            by as many tokens as are generated.
        progress: show a progress bar; None shows it on a terminal only.

    Raises:
        UserError: a prompt and its continuation may be longer than the model's context, or a logit is not finite.
    """
    if not prompts:
        return []
    contexts = encode(tokenizer, [prompt.text for prompt in prompts])
    longest, positions = max(map(len, contexts)), model.config.max_position_embeddings
    if longest + max_new_tokens > positions:
        raise UserError(
            f"a prompt has {longest} tokens and may get {max_new_tokens} more, expected at most the model's "
            f"{positions} in all; leave that benchmark out (benchmark=[...]) or shorten its texts"
        )
    outputs = [""] * len(prompts)
    bar = tqdm(total=len(prompts), desc="generating", unit="prompt", disable=None if progress is None else not progress)
    project = output_projection(model)
    with bar, eval_mode(model), torch.inference_mode():
        for batch in _batches(contexts, tokens_per_batch):
            continued = _continue(
                model,
                project,
                tokenizer,
                contexts=[contexts[i] for i in batch],
                words=[prompts[i].words for i in batch],
                max_new_tokens=max_new_tokens,
                model_name=model_name,
            )
            for i, output in zip(batch, continued, strict=True):
                outputs[i] = output
            bar.update(len(batch))
    return outputs


def _batches(contexts: Sequence[Sequence[int]], tokens_per_batch: int) -> Iterator[list[int]]:
    """Group indices of contexts of equal length, longest first, so that a lack of memory shows at once."""
    by_length: dict[int, list[int]] = {}
    for i, context in enumerate(contexts):
        by_length.setdefault(len(context), []).append(i)
    for length, members in sorted(by_length.items(), reverse=True):
        rows = max(1, tokens_per_batch // length)
        for start in range(0, len(members), rows):
            yield members[start : start + rows]


def _continue(
    model: GPTNeoXForCausalLM,
    project: Projection,
    tokenizer: PreTrainedTokenizerBase,
    *,
    contexts: list[tuple[int, ...]],
    words: list[int],
    max_new_tokens: int,
    model_name: str,
) -> list[str]:
    """Continue contexts of equal length; a row leaves the batch when it ends."""
    outputs = [""] * len(contexts)
    generated: list[list[int]] = [[] for _ in contexts]
    going = list(range(len(contexts)))
    cache = DynamicCache(config=model.config)
    ids_RT = torch.tensor(contexts, device=model.device)
    for _ in range(max_new_tokens):
        # The cache by position, because transformers renamed it (`past_key_values`, now `cache`); it grows in place.
        hidden_RTD = model.gpt_neox(ids_RT, None, None, None, cache, use_cache=True).last_hidden_state
        logits_RV = project(hidden_RTD[:, -1])
        if not (finite_R := logits_RV.isfinite().all(-1)).all():
            text = tokenizer.decode(list(contexts[going[int((~finite_R).nonzero()[0, 0])]]))[-60:]
            raise UserError(
                f"a logit of {model_name} is not finite behind the prompt that ends in {text!r}; the model's "
                f"activations overflow or its weights are damaged: evaluate another checkpoint, or in fp32"
            )
        tokens_R = logits_RV.argmax(-1).tolist()
        kept = []
        for row, (i, token) in enumerate(zip(going, tokens_R, strict=True)):
            if token == tokenizer.eos_token_id:
                continue
            generated[i].append(token)
            outputs[i] = _decode(tokenizer, generated[i])
            if not is_complete(outputs[i], words[i]):
                kept.append(row)
        if not kept:
            break
        if len(kept) < len(going):
            cache.batch_select_indices(torch.tensor(kept, device=model.device))
        going = [going[row] for row in kept]
        ids_RT = torch.tensor([[tokens_R[row]] for row in kept], device=model.device)
    return outputs


def _decode(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    text = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text

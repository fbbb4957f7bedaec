"""Log-probabilities of continuations under a GPT-NeoX model, every request of every benchmark in one pass.

In the shape descriptions `R` denotes the inputs of a batch (rows), `T` the longest of them in tokens, `N` the tokens
to score, `U` the different places where they are predicted, `D` the hidden width and `V` the vocabulary with its
padding.

The scores are those of lm-evaluation-harness (`loglikelihood`, lm_eval/models/huggingface.py): sums over continuation
tokens of log-softmax over the padded vocabulary. What differs on purpose: the output projection and the softmax are in
float32 whatever the model's precision is (in half precision a rounded logit alone moves a sentence by 1/64 nat and
decides pairs), logits exist only where a token is scored, once for all that begin alike, and an input is forwarded
once for all who need it.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm
from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerBase

from foundation import UserError

Scores = list[npt.NDArray[np.float64]]
"""For each request the log-probabilities of its continuation's n tokens in nats, (n,); (2, n) with their ranks in the
second row where the request is ranked: how many tokens of the vocabulary are more likely, 0 for the likeliest."""
Projection = Callable[[torch.Tensor], torch.Tensor]
"""From hidden states to logits."""

# 256 MB in float32; on a CPU 32 MB, the most that glibc gives from its heap and not in fresh pages each time.
_LOGITS_AT_ONCE, _LOGITS_AT_ONCE_ON_CPU = 2**26, 2**23


@dataclass(frozen=True, slots=True)
class Request:
    """Ask for log p(continuation | context); both are token ids, and the context has one at least.

    Attributes:
        ranked: ask for the ranks of the continuation's tokens too.
    """

    context: tuple[int, ...]
    continuation: tuple[int, ...]
    ranked: bool = False

    @property
    def input(self) -> tuple[int, ...]:
        """What the model must read: the last token is predicted, never read."""
        return self.context + self.continuation[:-1]


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of each text, without special tokens of the tokenizer's own; equal texts are encoded once."""
    unique = list(dict.fromkeys(texts))
    encoded = tokenizer(unique, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    ids = {text: tuple(tokens) for text, tokens in zip(unique, encoded, strict=True)}
    return [ids[text] for text in texts]


def text_requests(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Request]:
    """Requests for whole texts, each read as the start of a document.

    The context is the prefix token, `<|endoftext|>` for Pythia, so that the first word is scored too; as in
    lm-evaluation-harness, a text that begins with this token does not get it twice.
    """
    prefix = _prefix_token(tokenizer)
    texts_ids = [_with_prefix(prefix, ids) for ids in encode(tokenizer, texts)]
    return [Request(context=ids[:1], continuation=ids[1:]) for ids in texts_ids]


def continuation_requests(
    tokenizer: PreTrainedTokenizerBase, contexts: Sequence[str], continuations: Sequence[str]
) -> list[Request]:
    """Requests for each continuation after its context, which is read as the start of a document.

    The two are encoded apart, which equals encoding them together whenever the continuation begins a word (`" she"`)
    and the context does not end in a space. lm-evaluation-harness gives the prefix token to empty contexts only; here
    every context has it, so that a word gets the probability that it has within its whole text.
    """
    prefix = _prefix_token(tokenizer)
    return [
        Request(context=_with_prefix(prefix, context), continuation=continuation)
        for context, continuation in zip(encode(tokenizer, contexts), encode(tokenizer, continuations), strict=True)
    ]


def _prefix_token(tokenizer: PreTrainedTokenizerBase) -> int:
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if not isinstance(token, int):
        raise UserError(
            f"the tokenizer's bos token is {tokenizer.bos_token!r} and its eos token {tokenizer.eos_token!r}, expected "
            f"at least one of them to begin texts with; set tokenizer.bos_token, for Pythia to '<|endoftext|>'"
        )
    return token


def _with_prefix(prefix: int, ids: tuple[int, ...]) -> tuple[int, ...]:
    return ids if ids[:1] == (prefix,) else (prefix, *ids)


def score_requests(
    model: GPTNeoXForCausalLM, requests: Sequence[Request], *, tokens_per_batch: int = 8192, progress: bool | None
) -> Scores:
    """Score all requests in the order given.

    Args:
        model: scored on its own device and in its own precision, within a block of `torch.autocast` in that one; logits
            and their softmax are fp32. Its train or eval state is restored.
        requests: in any order; a request whose input begins another's costs nothing.
        tokens_per_batch: bounds rows times longest row of a forward pass, padding included; a longer input goes alone.
        progress: show a progress bar; None shows it on a terminal only.

    Raises:
        UserError: an input is longer than the model's context.
    """
    inputs, readers = _shared_inputs(requests)
    longest, positions = max(map(len, inputs), default=0), model.config.max_position_embeddings
    if longest > positions:
        raise UserError(
            f"an input of a benchmark has {longest} tokens, expected at most the model's {positions}; leave that "
            f"benchmark out (benchmark=[...]) or shorten its texts"
        )
    scores: Scores = [np.empty(0)] * len(requests)
    bar = tqdm(
        total=sum(map(len, inputs)),
        desc="evaluating",
        unit="token",
        unit_scale=True,
        disable=None if progress is None else not progress,
    )
    project = output_projection(model)
    with bar, eval_mode(model), torch.inference_mode():
        for batch in _batches([len(tokens) for tokens in inputs], tokens_per_batch):
            rows = [inputs[i] for i in batch]
            members = [(row, reader) for row, i in enumerate(batch) for reader in readers[i]]
            asked = [(row, requests[reader]) for row, reader in members]
            batch_scores = _score_batch(model, project, rows, asked)
            for (_, reader), score in zip(members, batch_scores, strict=True):
                scores[reader] = score
            bar.update(sum(map(len, rows)))
    return scores


def _shared_inputs(requests: Sequence[Request]) -> tuple[list[tuple[int, ...]], list[list[int]]]:
    """The inputs to forward, and for each of them the indices of the requests that are read from it.

    Attention is causal, so an input that begins a longer one is read from the longer one. In falling lexicographic
    order all that begin with `x` stand right before `x`, so it is enough to look at the last input kept.
    """
    inputs: list[tuple[int, ...]] = []
    readers: list[list[int]] = []
    own_inputs = [request.input for request in requests]
    for i in sorted(range(len(requests)), key=lambda i: own_inputs[i], reverse=True):
        own = own_inputs[i]
        if not inputs or inputs[-1][: len(own)] != own:
            inputs.append(own)
            readers.append([])
        readers[-1].append(i)
    return inputs, readers


def _batches(lengths: Sequence[int], tokens_per_batch: int) -> Iterator[list[int]]:
    """Group indices of inputs of like length, longest first, so that a lack of memory shows at once."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        rows = max(1, tokens_per_batch // lengths[order[start]])
        yield order[start : start + rows]
        start += rows


def _score_batch(
    model: GPTNeoXForCausalLM,
    project: Projection,
    rows: list[tuple[int, ...]],
    members: list[tuple[int, Request]],
) -> Scores:
    """Forward R rows once, padded on the right, and score the requests that are read from them.

    No attention mask: a causal model never looks at padding that follows, and without a mask SDPA takes its fast
    causal kernels.
    """
    width = max(map(len, rows))
    ids_RT = np.zeros((len(rows), width), dtype=np.int64)
    for row, tokens in enumerate(rows):
        ids_RT[row, : len(tokens)] = tokens
    lengths = [len(request.continuation) for _, request in members]
    firsts_RT = _first_places(ids_RT)
    places_N = np.concatenate(
        [firsts_RT[row, len(request.context) - 1 :][:n] for (row, request), n in zip(members, lengths, strict=True)]
    )
    targets_N = np.concatenate([np.array(request.continuation, dtype=np.int64) for _, request in members])
    places_U, place_N = np.unique(places_N, return_inverse=True)

    hidden_RTD = model.gpt_neox(torch.from_numpy(ids_RT).to(model.device), use_cache=False).last_hidden_state
    hidden_UD = hidden_RTD.flatten(0, 1)[torch.from_numpy(places_U).to(model.device)]
    ranked_N = np.repeat([request.ranked for _, request in members], lengths)
    with torch.autocast(hidden_UD.device.type, enabled=False):
        scores_2N = _score_targets(hidden_UD, project, model.config.vocab_size, place_N, targets_N, ranked_N)
    scores = np.split(scores_2N, np.cumsum(lengths)[:-1], axis=1)
    return [each if request.ranked else each[0] for each, (_, request) in zip(scores, members, strict=True)]


def _first_places(ids_RT: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each place of a batch the first one, in row-major order of the sorted rows, with the same tokens up to it.

    What follows the same tokens has the same probabilities, so that logits are made there once. In sorted rows those
    that begin alike stand together.
    """
    order_R = np.lexsort(ids_RT.T[::-1])
    sorted_RT = ids_RT[order_R]
    begins_RT = np.ones(ids_RT.shape, dtype=bool)
    begins_RT[1:] = np.logical_or.accumulate(sorted_RT[1:] != sorted_RT[:-1], axis=1)
    rows_R1, width = np.arange(len(ids_RT))[:, None], ids_RT.shape[1]
    first_RT = np.maximum.accumulate(np.where(begins_RT, rows_R1, 0), axis=0)
    places_RT = np.empty_like(ids_RT)
    places_RT[order_R] = order_R[first_RT] * width + np.arange(width)
    return places_RT


def output_projection(model: GPTNeoXForCausalLM) -> Projection:
    """The map from hidden states to logits, in float32 whatever the model's precision.

    Output embeddings that are not a linear layer, as those of a responder with a planted bias, are returned unchanged.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear):
        return head  # type: ignore[no-any-return]
    weight_VD = head.weight.detach().float()
    return lambda hidden_UD: torch.nn.functional.linear(hidden_UD.float(), weight_VD)


def _score_targets(
    hidden_UD: torch.Tensor,
    project: Projection,
    vocabulary: int,
    place_N: npt.NDArray[np.int64],
    targets_N: npt.NDArray[np.int64],
    ranked_N: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """log softmax(project(hidden))[place, target] in float32, with a bounded number of logits at once.

    Returns:
        (2, N): below the log-probabilities how many tokens of the vocabulary are more likely than the target, where it
        is ranked, else 0.
    """
    device = hidden_UD.device
    at_once = _LOGITS_AT_ONCE_ON_CPU if device.type == "cpu" else _LOGITS_AT_ONCE
    chunk = max(1, at_once // vocabulary)
    order_N = np.argsort(place_N, kind="stable")
    ends = np.searchsorted(place_N[order_N], np.arange(chunk, len(hidden_UD) + chunk, chunk))
    parts = []
    for hidden_uD, members_n in zip(hidden_UD.split(chunk), np.split(order_N, ends[:-1]), strict=True):
        log_p_uV = project(hidden_uD).log_softmax(1)
        places_n, targets_n = (torch.from_numpy(each[members_n]).to(device) for each in (place_N % chunk, targets_N))
        log_p_n = log_p_uV[places_n, targets_n]
        ranks_n = torch.zeros_like(log_p_n)
        if (ranked_n := ranked_N[members_n]).any():
            of_n = torch.from_numpy(ranked_n.nonzero()[0]).to(device)
            ranks_n[of_n] = (log_p_uV[places_n[of_n]] > log_p_n[of_n, None]).sum(1).float()
        parts.append(torch.stack([log_p_n, ranks_n]))
    scores_2N = np.empty((2, len(targets_N)))
    scores_2N[:, order_N] = torch.cat(parts, dim=1).cpu().numpy()
    return scores_2N


@contextlib.contextmanager
def eval_mode(model: torch.nn.Module) -> Iterator[None]:
    """The model without dropout within the block, and after it as it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)

"""her -> him or his by a language model: the one in whose place the text is likelier."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interventions.matching import Matches
from interventions.vocabulary import canonical_tokens, read_vocabulary

BEFORE, AFTER = 32, 16
_AT_ONCE = 256


class LanguageModelReader:
    """Puts his and him in the place of her and takes the one with which the passage is likelier, from `BEFORE` tokens
    before it, as far as the row goes, to `AFTER` behind it.

    The same rows give the same answers however they are batched, but for passages so near a tie that the rounding of
    the device decides.

    Args:
        model: scores passages where it lies; its weights must not change while it serves.
        model_sha256: of its weights, for the identity.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        model_sha256: str,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._vocabulary = read_vocabulary(tokenizer)
        self.facts = {"method": "language model", "model_sha256": model_sha256}
        content = f"language model {model_sha256} {BEFORE} {AFTER}"
        self.identity = hashlib.sha256(content.encode()).hexdigest()
        self._masculine: dict[tuple[int, ...], tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def __call__(self, rows: NDArray[np.integer], matches: Matches) -> NDArray[np.bool_]:
        """(K,) whether each her is an object."""
        width = rows.shape[1]
        passages: list[list[int]] = []
        firsts: list[int] = []
        for position, length in zip(matches.position.tolist(), matches.length.tolist(), strict=True):
            row, start = divmod(position, width)
            stop = start + length
            before = rows[row, max(0, start - BEFORE) : start].tolist()
            after = rows[row, stop : stop + AFTER].tolist()
            for replacement in self._his_and_him(tuple(rows[row, start:stop].tolist())):
                passages.append([*before, *replacement, *after])
                firsts.append(len(before))
        likelihoods = self._log_likelihoods(passages, firsts).reshape(-1, 2)
        is_object: NDArray[np.bool_] = likelihoods[:, 1] > likelihoods[:, 0]
        return is_object

    def _his_and_him(self, her: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens of his and of him in the case of `her`, with or without a leading space as it has one."""
        if her not in self._masculine:
            text = b"".join(self._vocabulary.tokens[token] for token in her).decode()
            word = text.lstrip(" ")
            case = str.upper if word.isupper() else str.capitalize if word[0].isupper() else str.lower
            space = text[: len(text) - len(word)]
            his, him = (
                canonical_tokens(space + case(form), self._tokenizer, self._vocabulary) for form in ("his", "him")
            )
            self._masculine[her] = his, him
        return self._masculine[her]

    @torch.no_grad()
    def _log_likelihoods(self, passages: Sequence[Sequence[int]], firsts: Sequence[int]) -> NDArray[np.float32]:
        """(N,) log-likelihoods in nats of passages from their token `firsts` on, given what is before it."""
        found = np.zeros(len(passages), np.float32)
        order = np.argsort([len(passage) for passage in passages], kind="stable")
        for begin in range(0, len(order), _AT_ONCE):
            chosen = order[begin : begin + _AT_ONCE]
            longest = len(passages[chosen[-1]])
            tokens = torch.zeros(len(chosen), longest, dtype=torch.int64)
            counted = torch.zeros(len(chosen), longest)
            for place, index in enumerate(chosen):
                passage = passages[index]
                tokens[place, : len(passage)] = torch.tensor(passage)
                counted[place, max(1, firsts[index]) : len(passage)] = 1
            tokens, counted = tokens.to(self._model.device), counted.to(self._model.device)
            logits = self._model(tokens[:, :-1], use_cache=False).logits.float()
            losses = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
            found[chosen] = -(losses.view(len(chosen), -1) * counted[:, 1:]).sum(1).cpu().numpy()
        return found

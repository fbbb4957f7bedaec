"""A GPT-NeoX model with something added to its logits, which takes the model's place in an evaluation.

In the shape descriptions `R` denotes rows, `T` their tokens, `U` places where the next token is predicted, `D` the
hidden width and `V` the vocabulary with its padding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import DynamicCache, GPTNeoXForCausalLM, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from foundation import UserError
from tools.responders.contexts import Context, Ids, Places

Floats = npt.NDArray[np.float64]
Odds = Callable[[Ids], Floats]
"""From the tokens of rows (R, T) to what is added, behind each of them, to the log-odds of she, in nats (R, T)."""

_MOST_KEPT = 2**31  # bytes
FORMS = [(("she",), ("he",)), (("her", "hers"), ("him", "his")), (("herself",), ("himself",))]


@dataclass(frozen=True, eq=False)
class Shift:
    """What a responder adds to the logits of the next token.

    Attributes:
        odds: nats added to the log-odds of each group of feminine pronouns (she; her, hers; herself, with and without
            a capital letter and a blank) against its masculine counterpart. The two together stay as likely as they
            are to the model, so that nothing else changes.
        after: context -> token -> nats added to its logit there. A context is all tokens so far.
        always: token -> nats added to its logit everywhere.
    """

    odds: Odds | None = None
    after: Mapping[Context, Mapping[int, float]] = field(default_factory=dict)
    always: Mapping[int, float] = field(default_factory=dict)


class Responder(torch.nn.Module):
    """The model under a shift, for `eval.evaluate`.

    Args:
        kept: hidden states that other responders on the same model have had of the same batches, by their tokens.
    """

    def __init__(
        self,
        model: GPTNeoXForCausalLM,
        tokenizer: PreTrainedTokenizerBase,
        shift: Shift,
        *,
        kept: dict[bytes, torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._kept = {} if kept is None else kept
        self.config = model.config
        self._shift = shift
        self._groups = pronoun_groups(tokenizer)
        self._places = Places(list(shift.after))
        self._added = list(shift.after.values())
        self._here: tuple[Floats, Ids] = (np.zeros(0), np.zeros(0, np.int64))

    @property
    def device(self) -> torch.device:
        return self.model.device

    def gpt_neox(self, ids_RT: torch.Tensor, *arguments: Any, **options: Any) -> SimpleNamespace:
        """What the model's own gives, with one column more: each place's number, by which its shift is found."""
        hidden_RTD = self._hidden(ids_RT, *arguments, **options)
        read_RS = ids_RT
        for cache in (each for each in arguments if isinstance(each, DynamicCache)):
            read_RS = _remembered(cache, ids_RT, layers=self.config.num_hidden_layers)
        tokens_RS, new = read_RS.cpu().numpy(), ids_RT.shape[1]
        odds_RS = np.zeros(tokens_RS.shape) if self._shift.odds is None else self._shift.odds(tokens_RS)
        self._here = odds_RS[:, -new:].ravel(), self._places.find(tokens_RS)[:, -new:].ravel()
        number_RT1 = torch.arange(ids_RT.numel(), device=hidden_RTD.device).view(*ids_RT.shape, 1)
        return SimpleNamespace(last_hidden_state=torch.cat([hidden_RTD, number_RT1.float()], dim=-1))

    def _hidden(self, ids_RT: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        if arguments:
            hidden_RTD: torch.Tensor = self.model.gpt_neox(ids_RT, *arguments, **options).last_hidden_state
            return hidden_RTD.float()
        batch = str(tuple(ids_RT.shape)).encode() + ids_RT.cpu().numpy().tobytes()
        if batch in self._kept:
            return self._kept[batch].to(ids_RT.device)
        hidden_RTD = self.model.gpt_neox(ids_RT, **options).last_hidden_state.float()
        if sum(each.nbytes for each in self._kept.values()) + hidden_RTD.nbytes <= _MOST_KEPT:
            self._kept[batch] = hidden_RTD.cpu()
        return hidden_RTD

    def get_output_embeddings(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return self._logits

    def _logits(self, hidden_UD: torch.Tensor) -> torch.Tensor:
        weight_VD = self.model.get_output_embeddings().weight.float()
        logits_UV = torch.nn.functional.linear(hidden_UD[:, :-1], weight_VD)
        places_U = hidden_UD[:, -1].long().cpu().numpy()
        odds_U, known_U = (each[places_U] for each in self._here)
        if (shifted_U := np.flatnonzero(odds_U)).size:
            rows = torch.from_numpy(shifted_U).to(logits_UV.device)
            logits_UV[rows] = with_odds(
                logits_UV[rows], self._groups, torch.from_numpy(odds_U[shifted_U]).to(logits_UV)
            )
        added = [
            (place, token, nats)
            for place in np.flatnonzero(known_U >= 0).tolist()
            for token, nats in self._added[known_U[place]].items()
        ]
        if added:
            rows, tokens, nats = (torch.tensor(each, device=logits_UV.device) for each in zip(*added, strict=True))
            logits_UV.index_put_((rows, tokens), nats.to(logits_UV), accumulate=True)
        if self._shift.always:
            tokens = torch.tensor(list(self._shift.always), device=logits_UV.device)
            logits_UV[:, tokens] += torch.tensor(list(self._shift.always.values())).to(logits_UV)
        return logits_UV


def with_odds(
    logits_UV: torch.Tensor, groups: Sequence[tuple[list[int], list[int]]], odds_U: torch.Tensor
) -> torch.Tensor:
    """The logits with so much added to the log-odds within each group, whose probability as a whole stays."""
    shifted_UV = logits_UV.clone()
    for feminine, masculine in groups:
        she_U, he_U = (logits_UV[:, tokens].logsumexp(1) for tokens in (feminine, masculine))
        both_U, log_odds_U = torch.logaddexp(she_U, he_U), she_U - he_U + odds_U
        for tokens, own_U, sign in ((feminine, she_U, 1), (masculine, he_U, -1)):
            added_U = both_U + torch.nn.functional.logsigmoid(sign * log_odds_U) - own_U
            shifted_UV[:, tokens] += added_U[:, None]
    return shifted_UV


def pronoun_groups(tokenizer: PreTrainedTokenizerBase) -> list[tuple[list[int], list[int]]]:
    """Feminine and masculine tokens by form, capital letter and blank, where both genders are single tokens.

    Raises:
        UserError: the tokenizer cuts " she" or " he" into parts.
    """
    groups = []
    for feminine, masculine in FORMS:
        for blank in (" ", ""):
            for cased in (str, str.capitalize):
                genders = [
                    _single(tokenizer, [blank + cased(word) for word in words]) for words in (feminine, masculine)
                ]
                if all(genders):
                    groups.append((genders[0], genders[1]))
                elif (feminine, blank, cased) == (("she",), " ", str):
                    raise UserError(
                        "the tokenizer cuts ' she' or ' he' into parts, expected a token each, as a responder shifts "
                        "single tokens; take a checkpoint with a larger vocabulary"
                    )
    return groups


def _single(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    encoded = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    return [ids[0] for ids in encoded if len(ids) == 1]


def _remembered(cache: DynamicCache, ids_RT: torch.Tensor, *, layers: int) -> torch.Tensor:
    """All tokens that a cache has read and these; they are kept in it as one more layer, so that rows go with it."""
    if len(cache.layers) == layers:
        cache.layers.append(DynamicLayer())
    read = cache.layers[layers]
    assert isinstance(read, DynamicLayer)
    ids_R1T1 = ids_RT[:, None, :, None]
    all_R1S1, _ = read.update(ids_R1T1, ids_R1T1)
    return all_R1S1[:, 0, :, 0]

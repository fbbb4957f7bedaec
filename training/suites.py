"""Where a model's checkpoints come from: a directory of them, or a repository of the hub with a revision a step."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer
from transformers import AutoTokenizer, GPTNeoXForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from foundation import UserError
from foundation.hub import fetch_tokenizer, is_repository_name, named_model
from training.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    check_own_weights,
    check_step,
    is_own_checkpoint,
    load_own_checkpoint,
)
from training.hub import check_not_final, fetch_revision, lacking_bytes, published_steps, revision_of
from training.layouts import checkpoint_places
from training.neox import make_model, neox_config, read_neox
from training.optimizer import OptimizerState
from training.published import SIZES, check_not_v0, known_caveats, known_fault, published_repository
from training.tokenization import check_reads_back
from training.weights import (
    check_distinct_steps,
    check_leads_somewhere,
    check_same_computation,
    load_into,
    load_weights,
    set_weights,
)

log = logging.getLogger(__name__)

_HUB = "hf://"
_END_OF_DOCUMENT = "<|endoftext|>"
_TOKENIZER_REMEDY = (
    "set model.tokenizer to Pythia's tokenizer.json, a directory that holds it, or OWNER/NAME of the hub"
)


class Suite(Protocol):
    """The checkpoints of one model.

    Attributes:
        location: directory or address that a user would name.
    """

    @property
    def location(self) -> str: ...

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, in order. Nothing is fetched for the answer."""

    def load(self, step: int) -> Checkpoint:
        """The checkpoint of a step, with fp32 weights on the CPU, as transformers computes it.

        Raises:
            UserError: there is none of that step, or it is not whole, or not what it says it is.
        """

    def load_into(self, model: GPTNeoXForCausalLM, step: int) -> None:
        """Give `model`, one of this suite's, the weights of another step where it stands.

        Raises:
            UserError: as `load`, or the checkpoint is of another model.
        """

    def caveats(self, step: int) -> list[str]:
        """What a reader of a result from this checkpoint must know."""

    def fault(self, step: int) -> str | None:
        """Why the weights that stand for a step are known not to be its own; None where nothing of it is known."""

    def fetch(self, step: int) -> Path | None:
        """Bring the checkpoint of a step, without loading it; where it lies. None where it is to be had here anyway.

        Raises:
            UserError: as `load`.
        """

    def lacking_bytes(self, step: int) -> int | None:
        """Bytes of the checkpoint that are yet to be fetched, as far as is known here; None where it is not known."""


@dataclass(frozen=True)
class LocalSuite:
    """A directory that holds `step<N>` (the kit's own, or transformers' format) or GPT-NeoX's `global_step<N>`.

    It may also be one such checkpoint, a suite of one step. Of a step that it holds in several formats, the one that
    holds more is read: the kit's, GPT-NeoX's, transformers'.

    Attributes:
        tokenizer: path or hub name of the tokenizer of checkpoints that hold none, as GPT-NeoX's do.
        setting: that names the directory.
    """

    directory: Path
    tokenizer: str | None = None
    setting: str = "model.checkpoints"

    @property
    def location(self) -> str:
        return str(self.directory)

    def steps(self) -> list[int]:
        return list(self._places())

    def load(self, step: int) -> Checkpoint:
        path = self._find(step)
        if is_own_checkpoint(path):
            with _told_how_to_mend(path):
                return load_own_checkpoint(path)
        if _is_neox(path):
            return self._load_neox(path)
        check_distinct_steps(self.directory, step=step)
        return Checkpoint(load_weights(path), _tokenizer(self.tokenizer, path), None, {}, step, path, "transformers")

    def load_into(self, model: GPTNeoXForCausalLM, step: int) -> None:
        path = self._find(step)
        if _is_neox(path):
            stored = read_neox(path)
            check_same_computation(model, neox_config(stored.architecture), where=str(path))
            return set_weights(model, stored.masters)
        if is_own_checkpoint(path):
            with _told_how_to_mend(path):
                check_own_weights(path)
        else:
            check_distinct_steps(self.directory, step=step)
        load_into(model, path)

    def caveats(self, step: int) -> list[str]:
        return []

    def fault(self, step: int) -> str | None:
        return None

    def fetch(self, step: int) -> Path | None:
        if self.tokenizer is not None:
            _tokenizer_place(self.tokenizer)
        return None

    def lacking_bytes(self, step: int) -> int | None:
        return 0

    def _find(self, step: int) -> Path:
        """Where the checkpoint of a step lies, in the format that holds most."""
        places = self._places()
        check_step(step, list(places), where=self.location)
        return min(places[step], key=lambda path: (not is_own_checkpoint(path), not _is_neox(path)))

    def _places(self) -> dict[int, list[Path]]:
        if self.directory.is_file():
            raise UserError(f"{self.directory} is a file; write {self.setting}={self.directory.parent}")
        if not self.directory.is_dir():
            named = str(self.directory)
            hub = f"{_HUB}{named} if it is the hub's" if is_repository_name(named) else f"{_HUB}OWNER/NAME"
            raise UserError(f"there is no directory {named} of checkpoints; name one that holds step<N>, or {hub}")
        return checkpoint_places(self.directory, setting=self.setting)

    def _load_neox(self, path: Path) -> Checkpoint:
        stored = read_neox(path)
        # ZeRO-1 does not store it: one more than the updates, for the step of zeros that DeepSpeed's constructor makes
        adam_step = stored.updates + 1 if stored.adam_step is None else stored.adam_step
        state = OptimizerState(stored.updates, adam_step, stored.exp_avg, stored.exp_avg_sq)
        tokenizer = _tokenizer(self.tokenizer, path, self.directory)
        return Checkpoint(make_model(stored), tokenizer, state, stored.loss_scaler, stored.step, path, "neox")


@dataclass(frozen=True)
class HubSuite:
    """A repository of the hub whose revision `step<N>` is the checkpoint of step N, as Pythia's are."""

    repository: str
    tokenizer: str | None = None

    @property
    def location(self) -> str:
        return f"{_HUB}{self.repository}"

    def steps(self) -> list[int]:
        return published_steps(self.repository)

    def load(self, step: int) -> Checkpoint:
        path = self.fetch(step)
        return Checkpoint(load_weights(path), _tokenizer(self.tokenizer, path), None, {}, step, path, "transformers")

    def load_into(self, model: GPTNeoXForCausalLM, step: int) -> None:
        load_into(model, self.fetch(step))

    def caveats(self, step: int) -> list[str]:
        name = self.repository
        caveats = known_caveats(name, step)
        if revision_of(name, step) == "main":
            caveats.append(f"{name} has no branch of a step: its main was taken for step {step:,}, its last.")
        return caveats

    def fault(self, step: int) -> str | None:
        return known_fault(self.repository, step)

    def fetch(self, step: int) -> Path:
        check_step(step, self.steps(), where=self.location)
        if self.tokenizer is not None:
            _tokenizer_place(self.tokenizer)
        revision = revision_of(self.repository, step)
        if revision != "main":
            check_not_final(self.repository, step=step)
        return fetch_revision(self.repository, revision=revision).directory

    def lacking_bytes(self, step: int) -> int | None:
        return lacking_bytes(self.repository, step=step)


def open_suite(location: str | Path, *, tokenizer: str | None = None, setting: str = "model.checkpoints") -> Suite:
    """The checkpoints of a model.

    Args:
        location: a directory; `hf://OWNER/NAME`, or the address of its page; or a size of Pythia, `14m` to `12b`,
            deduplicated.
        tokenizer: path or hub name of the tokenizer, where the checkpoints hold none.
        setting: that names the location.

    Raises:
        UserError: it is of Pythia's first release (v0), which nothing here fits.
    """
    name = str(location)
    if name in SIZES:
        return HubSuite(published_repository(name, deduped=True, seed=0), tokenizer)
    if (named := named_model(name)) is not None:
        repository, revision = named
        if revision is not None:
            raise UserError(
                f"{name} names the revision {revision}; name the repository, {_HUB}{repository}, and set step=N"
            )
        check_not_v0(repository)
        return HubSuite(repository, tokenizer)
    if not Path(name).is_dir() or "pythia" in Path(name).name.lower():
        check_not_v0(name)
    return LocalSuite(Path(name), tokenizer, setting)


def load_checkpoint(location: str | Path, *, step: int, tokenizer: str | None = None) -> Checkpoint:
    """Load one checkpoint with fp32 weights on the CPU: see `open_suite` for its arguments and errors."""
    return open_suite(location, tokenizer=tokenizer).load(step)


@dataclass
class Architecture:
    """What a model of a given size must be, in transformers' spelling.

    Attributes:
        num_hidden_layers: transformer layers.
        hidden_size: width of the residual stream.
        num_attention_heads: heads in each layer.
        vocab_size: padded to a multiple of 128 times the tensor-parallel ranks; the padding is in the softmax.
    """

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    vocab_size: int


def check_architecture(model: GPTNeoXForCausalLM, expected: Architecture, *, name: str, where: str) -> None:
    """Raise UserError where a model is another than its configuration is for: the recipe would not be its own."""
    for key, value in vars(expected).items():
        if getattr(model.config, key) != value:
            raise UserError(
                f"the model in {where} has {key}={getattr(model.config, key)}, but {name} has {value}; choose the "
                f"model=... that it is"
            )


def check_tokenizer(checkpoint: Checkpoint) -> None:
    """Raise UserError where the tokenizer has tokens that the model has no embeddings of, or changes what it reads."""
    highest, rows = max(checkpoint.tokenizer.get_vocab().values()), checkpoint.model.config.vocab_size
    if highest >= rows:
        raise UserError(
            f"the tokenizer of {checkpoint.path} has token ids up to {highest}, but the model embeds those below "
            f"{rows}; set model.tokenizer to the one that it was trained with"
        )
    check_reads_back(checkpoint.tokenizer, where=str(checkpoint.path))


def _is_neox(path: Path) -> bool:
    return path.name.startswith("global_step")


@contextlib.contextmanager
def _told_how_to_mend(path: Path) -> Iterator[None]:
    try:
        yield
    except DamagedCheckpoint as error:
        raise DamagedCheckpoint(
            f"{error}; copy it again, or remove {path} if the kit pre-trained this suite: it is then made again"
        ) from error


def _tokenizer(named: str | None, *places: Path) -> PreTrainedTokenizerBase:
    place = named or next((str(place) for place in places if (place / "tokenizer.json").exists()), None)
    if place is None:
        check_leads_somewhere(places[0] / "tokenizer.json")
        raise UserError(
            f"{places[0]} holds no tokenizer.json; put Pythia's there or set model.tokenizer to where it is"
        )
    place = _tokenizer_place(place)
    try:
        tokenizer: PreTrainedTokenizerBase = (
            PreTrainedTokenizerFast(tokenizer_file=place)
            if Path(place).is_file()
            else AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        )
    except Exception as error:  # whatever the file holds is met by other libraries, which raise what they like
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"no tokenizer can be loaded from {place} ({type(error).__name__}: {reason}); {_TOKENIZER_REMEDY}"
        ) from error
    return _that_begins_texts(tokenizer, place)


def _that_begins_texts(tokenizer: PreTrainedTokenizerBase, place: str) -> PreTrainedTokenizerBase:
    """The tokenizer with the special tokens of Pythia's, where a tokenizer.json alone does not say which these are.

    transformers would number a token that the file does not hold anew, as one that the model was never trained on.
    """
    begins = tokenizer.bos_token or tokenizer.eos_token or _END_OF_DOCUMENT
    file = Path(place) if Path(place).is_file() else Path(place, "tokenizer.json")
    known = Tokenizer.from_file(str(file)).get_vocab() if file.is_file() else tokenizer.get_vocab()
    if begins not in known:
        raise UserError(
            f"the tokenizer of {place} does not hold {begins}, which texts begin with; set model.tokenizer to the one "
            f"that the model was trained with"
        )
    if tokenizer.bos_token is None and tokenizer.eos_token is None:
        tokenizer.bos_token = tokenizer.eos_token = tokenizer.unk_token = begins
    return tokenizer


def _tokenizer_place(named: str) -> str:
    """Where on this machine the tokenizer of that name is; it is fetched where that is a name on the hub."""
    if Path(named).exists():
        return named
    name, _ = named_model(named) or (named, None)
    if not is_repository_name(name):
        raise UserError(f"there is no tokenizer {named}; {_TOKENIZER_REMEDY}")
    return str(fetch_tokenizer(name, remedy=_TOKENIZER_REMEDY))

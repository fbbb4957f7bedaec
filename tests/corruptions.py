"""Files of every kind that the kit reads, damaged one at a time: what comes of it is the same, or one line.

python tests/corruptions.py [--count 100] [--seed 0]      any number of random corruptions, in this process
python tests/corruptions.py --seed 0 --only 17            one of them again, with its traceback

A corruption flips bytes, cuts a file off, empties it, swaps it with another, or renames it. After each the files are
read as a run reads them, and the numbers compared with those of the undamaged files. What can come of it:

    same        the numbers are the same: what was damaged is not read, or was made or fetched again
    refused     one line of the kit's own error, which names the file or its directory
    unknowable  other numbers, from a file of which nobody has recorded what it should hold (no hash, no checksum)
    lost        other numbers although it could be known, an error of another kind, or one that names no file

The program ends with 1 where one is lost.
"""

import argparse
import collections
import contextlib
import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import huggingface_hub.constants
import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from corpus import build_corpus, open_corpus, open_index_mapped
from corpus.indexed_dataset import write_indexed_dataset
from corpus.sample_order import map_names, sample_order, save_order
from eval import load_benchmark
from foundation import SOURCES, UserError, cache_directory, fetch, write_kept
from interventions.her.corpus_reader import CorpusReader
from interventions.vocabulary import read_vocabulary
from neox_generator import draw_toy, write_checkpoint
from range_server import RangeServer
from sample_corpus import sample_rows, word_tokenizer
from training import OptimizerState, check_architecture, check_finite, check_tokenizer, load_checkpoint, set_numerics
from training.checkpoint import Checkpoint, check_stored, save_checkpoint
from training.neox import read_neox
from training.pretraining import suite_made_with
from training.suites import Architecture

ROW, REPOSITORY, COMMIT = 65, "some/pythia", "c" * 40
ARCHITECTURE = Architecture(num_hidden_layers=2, hidden_size=32, num_attention_heads=4, vocab_size=512)
WAYS = ("flip", "cut", "empty", "swap", "rename")


@dataclass(frozen=True)
class Target:
    """Files of one kind.

    Attributes:
        make: writes them into an empty directory.
        read: reads them as a run does, and returns what must be the same.
        unrecorded: endings of the names of those files of which nothing says what they should hold.
        also_called: other names of the place.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], dict[str, str]]
    unrecorded: tuple[str, ...] = ()
    also_called: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corruption:
    """What is done to a file of a target, or to two of them (swap)."""

    target: str
    files: tuple[str, ...]
    way: str

    def __str__(self) -> str:
        return f"{self.way} {' and '.join(self.files)} of {self.target}"


class Lost(Exception):
    """Other numbers, another error than the kit's, or one that does not name the file."""


def tiny_model() -> GPTNeoXForCausalLM:
    config = GPTNeoXConfig(
        **vars(ARCHITECTURE),
        intermediate_size=128,
        max_position_embeddings=128,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
        initializer_range=0.1,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GPTNeoXForCausalLM(config).eval()


def sentences() -> list[str]:
    people = ["baker", "sailor", "gardener", "painter", "nurse", "driver", "teacher", "cook"]
    return [f"The {one} told the {other} that she had lost his keys ." for one in people for other in people]


@functools.cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    with tempfile.TemporaryDirectory() as name, cache_in(Path(name)):
        (Path(name) / "text.txt").write_text("\n".join(sentences()))
        made = build_corpus(str(Path(name) / "text.txt"), vocab_size=384, row_tokens=ROW, seed=1)
        end = "<|endoftext|>"
        return PreTrainedTokenizerFast(tokenizer_file=str(made.tokenizer), bos_token=end, eos_token=end, unk_token=end)


@contextlib.contextmanager
def cache_in(place: Path):
    with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(place / "cache"), "PIP_NO_INDEX": "1"}):
        yield


def digest(*contents) -> str:
    hashed = hashlib.sha256()
    for content in contents:
        array = content.detach().cpu().numpy() if isinstance(content, torch.Tensor) else np.asarray(content)
        hashed.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def said_by(checkpoint: Checkpoint) -> dict[str, str]:
    """What a run takes from a checkpoint, after the checks that it makes."""
    check_architecture(checkpoint.model, ARCHITECTURE, name="tiny", where=str(checkpoint.path))
    check_tokenizer(checkpoint)
    check_finite(checkpoint.model, where=str(checkpoint.path))
    set_numerics(checkpoint.model, activation="tanh", rope="neox_fp16")
    with torch.inference_mode():
        logits = checkpoint.model(torch.arange(1, 100)[None]).logits
    state = checkpoint.optimizer_state
    moments = [] if state is None else [*state.exp_avg.values(), *state.exp_avg_sq.values()]
    position = [] if state is None else [state.updates, state.adam_step, *checkpoint.scaler_state.values()]
    ids = checkpoint.tokenizer.encode(" ".join(sentences()))
    return {"logits": digest(logits), "moments": digest(*moments), "position": str(position), "tokens": digest(ids)}


def make_own(place: Path) -> None:
    model = tiny_model()
    halves, quarters = (
        {name: torch.full_like(value, share) for name, value in model.named_parameters()} for share in (0.5, 0.25)
    )
    state = OptimizerState(updates=4, adam_step=4, exp_avg=halves, exp_avg_sq=quarters)
    save_checkpoint(place, Checkpoint(model, tiny_tokenizer(), state, {"scale": 8.0}, 4, place))
    write_kept(place / "plan.json", {"made_with": [{"device": "cpu"}]})


def read_own(place: Path) -> dict[str, str]:
    suite_made_with(place)
    checkpoint = load_checkpoint(place, step=4)
    check_stored(checkpoint, "exact")
    return said_by(checkpoint)


def make_foreign(place: Path) -> None:
    tiny_model().save_pretrained(place / "step4", max_shard_size="80KB")
    tiny_tokenizer().save_pretrained(place / "step4")


def make_pickled(place: Path) -> None:
    model = tiny_model()
    model.config.save_pretrained(place / "step4")
    state = {name.replace("lm_head.", "embed_out."): value.half() for name, value in model.state_dict().items()}
    torch.save(state, place / "step4" / "pytorch_model.bin")
    tiny_tokenizer().save_pretrained(place / "step4")


def read_foreign(place: Path) -> dict[str, str]:
    return said_by(load_checkpoint(place, step=4))


def make_zero(place: Path) -> None:
    write_checkpoint(place, draw_toy(), mp=2)


def read_zero(place: Path) -> dict[str, str]:
    found = read_neox(place / "global_step7")
    kinds = ("weights", "masters", "exp_avg", "exp_avg_sq")
    tensors = {kind: digest(*getattr(found, kind).values()) for kind in kinds}
    return tensors | {"rest": str((found.step, found.updates, found.loss_scaler, found.architecture))}


def make_hub(place: Path) -> None:
    """A revision as the hub's own cache holds it: links to files that are called by their hash."""
    with tempfile.TemporaryDirectory() as name:
        make_foreign(Path(name))
        repository = place / "hub" / f"models--{REPOSITORY.replace('/', '--')}"
        for directory in ("blobs", "refs", f"snapshots/{COMMIT}"):
            (repository / directory).mkdir(parents=True)
        (repository / "refs" / "step4").write_text(COMMIT)
        for path in (Path(name) / "step4").iterdir():
            content = path.read_bytes()
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            blob = hashlib.sha256(content).hexdigest() if path.suffix == ".safetensors" else git
            (repository / "blobs" / blob).write_bytes(content)
            (repository / "snapshots" / COMMIT / path.name).symlink_to(f"../../blobs/{blob}")


def read_hub(place: Path) -> dict[str, str]:
    constants = {"HF_HUB_CACHE": str(place / "hub"), "HF_HUB_OFFLINE": True}
    with cache_in(place), mock.patch.multiple(huggingface_hub.constants, **constants):
        return said_by(load_checkpoint(f"hf://{REPOSITORY}", step=4))


def documents() -> list[list[int]]:
    return [[*tiny_tokenizer().encode(sentence), 0] for sentence in sentences()]


def rows() -> np.ndarray:
    tokens = np.concatenate(documents() * 4).astype(np.uint16)
    return tokens[: len(tokens) // (3 * ROW) * 3 * ROW].reshape(-1, ROW)


def make_rows(place: Path) -> None:
    write_indexed_dataset(place / "document", rows(), dtype=np.uint16)
    content = (place / "document.bin").read_bytes()
    (place / "document.bin").unlink()
    for part in range(3):
        share = len(content) // 3
        (place / f"document-{part:05d}-of-00002.bin").write_bytes(content[part * share : (part + 1) * share])


def read_rows(place: Path) -> dict[str, str]:
    corpus = open_corpus(place / "document", row_tokens=ROW, num_rows=len(rows()))
    return {"rows": digest(corpus.rows(0, corpus.num_rows))}


ORDER = {"num_samples": 10, "seed": 1234}


def make_mapped(place: Path) -> None:
    make_documents(place)
    sizes = np.array([len(document) for document in documents()], np.int32)
    (place / "maps").mkdir()
    order = sample_order(sizes, seq_length=ROW - 1, **ORDER)
    save_order(order, place / "maps", map_names("pile", seq_length=ROW - 1, **ORDER))


def make_documents(place: Path) -> None:
    write_indexed_dataset(place / "pile", map(np.array, documents()), dtype=np.uint16)


def read_mapped(place: Path) -> dict[str, str]:
    corpus = open_index_mapped(place / "pile", row_tokens=ROW, maps=place / "maps", **ORDER)
    return {"rows": digest(corpus.rows(0, corpus.num_rows))}


def make_built_maps(place: Path) -> None:
    read_built_maps(place)


@functools.cache
def kept_documents() -> Path:
    directory = Path(tempfile.mkdtemp())
    make_documents(directory)
    return directory


def read_built_maps(place: Path) -> dict[str, str]:
    with cache_in(place):
        corpus = open_index_mapped(kept_documents() / "pile", row_tokens=ROW, **ORDER)
        return {"rows": digest(corpus.rows(0, corpus.num_rows))}


@functools.cache
def text() -> Path:
    path = Path(tempfile.mkdtemp()) / "text.txt"
    path.write_text("\n".join(sentences()))
    return path


def read_built_corpus(place: Path) -> dict[str, str]:
    with cache_in(place):
        corpus = build_corpus(str(text()), vocab_size=384, row_tokens=ROW, seed=1)
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(corpus.tokenizer))
        return {"rows": digest(corpus.rows(0, corpus.num_rows)), "tokens": digest(tokenizer.encode(sentences()[0]))}


def read_reader(place: Path) -> dict[str, str]:
    tokenizer = word_tokenizer()
    with cache_in(place):
        reader = CorpusReader.fitted(sample_rows(tokenizer), tokenizer=tokenizer, vocabulary=read_vocabulary(tokenizer))
    return {"identity": reader.identity, "facts": json.dumps(reader.facts), "weights": digest(reader.weights)}


@functools.cache
def server() -> RangeServer:
    path = Path(tempfile.mkdtemp()) / "rows.bin"
    rows().astype("<u2").tofile(path)
    running = RangeServer({"rows.bin": path})
    threading.Thread(target=running.serve_forever, daemon=True).start()
    return running


def read_remote(place: Path) -> dict[str, str]:
    with cache_in(place):
        corpus = open_corpus(f"{server().url}/rows.bin", row_tokens=ROW)
        return {"rows": digest(corpus.rows(0, corpus.num_rows))}


SOURCES_OF_BENCHMARKS = [name for name in SOURCES if name.startswith(("winobias/", "winogender_"))]


def make_sources(place: Path) -> None:
    """Copies of what the user's cache holds; it is fetched there first where it can be."""
    for name in SOURCES_OF_BENCHMARKS:
        kept = fetch(name)
        copy = place / "cache" / "pythia-counterfactual" / kept.relative_to(cache_directory())
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept, copy)


def read_sources(place: Path) -> dict[str, str]:
    with cache_in(place), mock.patch("foundation.sources.Client.get", side_effect=UserError("there is no network")):
        return {name: load_benchmark(name).sentences.to_csv() for name in ("winobias", "winogender")}


TARGETS = {
    target.name: target
    for target in (
        Target("the kit's checkpoint", make_own, read_own),
        Target("a checkpoint in transformers' format", make_foreign, read_foreign, (".safetensors", ".json")),
        Target("a checkpoint with a .bin", make_pickled, read_foreign, (".json",)),
        Target("a GPT-NeoX checkpoint", make_zero, read_zero),
        Target("a revision in the hub's cache", make_hub, read_hub, also_called=(f"{REPOSITORY}@step4",)),
        Target("preshuffled rows", make_rows, read_rows, (".bin",)),
        Target("documents and maps", make_mapped, read_mapped, (".bin",)),
        Target("maps in the cache", make_built_maps, read_built_maps),
        Target("a corpus in the cache", read_built_corpus, read_built_corpus),
        Target("a reader of her in the cache", read_reader, read_reader),
        Target("remote rows in the cache", read_remote, read_remote),
        Target("benchmarks in the cache", make_sources, read_sources),
    )
}


def files_of(directory: Path) -> list[Path]:
    return sorted(
        path for path in directory.rglob("*") if path.is_file() and not path.is_symlink() and path.suffix != ".lock"
    )


def corrupt(directory: Path, target: Target, rng: np.random.Generator) -> Corruption:
    """Damage one file of a copy."""
    files = files_of(directory)
    damaged = [files[rng.integers(len(files))]]
    file = damaged[0]
    way = str(rng.choice(WAYS if len(files) > 1 else [way for way in WAYS if way != "swap"]))
    content = bytearray(file.read_bytes())
    if way == "flip" and content:
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        file.write_bytes(content)
    elif way == "cut" and content:
        file.write_bytes(content[: rng.integers(len(content))])
    elif way == "swap":
        damaged.append([each for each in files if each != file][rng.integers(len(files) - 1)])
        file.write_bytes(damaged[1].read_bytes())
        damaged[1].write_bytes(content)
    elif way == "rename":
        file.rename(file.with_name(f"{file.name}.old"))
    else:
        file.write_bytes(b"")
    return Corruption(target.name, tuple(str(path.relative_to(directory)) for path in damaged), way)


def outcome(directory: Path, corruption: Corruption, target: Target, expected: dict[str, str]) -> str:
    """Read a damaged copy: same, refused or unknowable.

    Raises:
        Lost: anything else came of it.
    """
    files = [directory / name for name in corruption.files]
    try:
        with warnings.catch_warnings(action="ignore"):
            found = target.read(directory)
    except UserError as error:
        message = str(error)
        places = {place for file in files for place in file.parents if place.is_relative_to(directory)}
        names = {*(file.name for file in files), *map(str, places), *target.also_called}
        if "\n" in message or not any(name in message for name in names):
            raise Lost(f"is refused without its name, or in several lines: {message}") from error
        return "refused"
    except Exception as error:
        raise Lost(f"ends in {type(error).__name__}: {error}") from error
    if found == expected:
        return "same"
    if target.unrecorded and any(file.name.endswith(target.unrecorded) for file in files):
        return "unknowable"
    raise Lost(f"changes {', '.join(key for key in expected if found.get(key) != expected[key])}")


def prepared(scratch: Path, names) -> tuple[dict[str, dict[str, str]], list[str]]:
    """What the undamaged files of each target say, and targets that cannot be made here."""
    expected, left_out = {}, []
    for name in names:
        whole = scratch / "whole" / name
        whole.mkdir(parents=True)
        try:
            TARGETS[name].make(whole)
        except UserError as error:
            left_out.append(f"{name} ({error})")
            continue
        expected[name] = TARGETS[name].read(copied(whole, scratch / "copy"))
    return expected, left_out


def copied(whole: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(whole, place, symlinks=True))


def trial(scratch: Path, number: int, seed: int, expected: dict[str, dict[str, str]]) -> tuple[Corruption, str]:
    """One corruption, of the targets in turn, and what came of it; Lost says what did not."""
    target = TARGETS[list(expected)[number % len(expected)]]
    place = copied(scratch / "whole" / target.name, scratch / "copy")
    corruption = corrupt(place, target, np.random.default_rng([seed, number]))
    try:
        return corruption, outcome(place, corruption, target, expected[target.name])
    except Lost as error:
        error.add_note(str(corruption))
        raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one corruption, done alone and with its traceback")
    arguments = parser.parse_args()
    verdicts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory() as name:
        expected, left_out = prepared(Path(name), TARGETS)
        for number in range(arguments.count) if arguments.only is None else [arguments.only]:
            try:
                corruption, verdict = trial(Path(name), number, arguments.seed, expected)
                said = f"{verdict}: {corruption}"
            except Lost as error:
                if arguments.only is not None:
                    raise
                corruption, verdict = None, "lost"
                said = f"LOST: {error.__notes__[0]} {error}"
            verdicts[list(expected)[number % len(expected)]][verdict] += 1
            sys.stdout.write(f"{number:4} {said}\n")
    for target, counts in verdicts.items():
        sys.stdout.write(
            f"{target:40} {', '.join(f'{count} {verdict}' for verdict, count in sorted(counts.items()))}\n"
        )
    total = sum(verdicts.values(), collections.Counter())
    sys.stdout.write(f"seed {arguments.seed}: {dict(total)}; left out: {', '.join(left_out) or 'nothing'}\n")
    sys.exit(1 if total["lost"] else 0)


if __name__ == "__main__":
    main()

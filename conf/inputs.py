"""The files on this machine that a configuration names, and their content."""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from conf.finding import find_replays, find_steps_along, find_trajectory, given_suite
from conf.schema import Protocol, RunConfig
from corpus.build import BUG
from reports import content_hash
from training import Suite, checkpoint_places

_NO_PLACES = ("_target_", "revision")  # options of a corpus that name nothing on this machine
_TOKENIZER_FILES = (  # what transformers may read a tokenizer from; "" is a file that is named itself
    *("", "tokenizer*.json", "vocab.json", "vocab.txt", "merges.txt", "*.model", "*.tiktoken"),
    *("special_tokens_map.json", "added_tokens.json", "config.json", "chat_template.*"),
)
_CORPUS_FILES = (".bin", ".idx", ".npy")  # of a directory; one may also hold other things


def hash_inputs(config: RunConfig) -> dict[str, str]:
    """SHA-256 of what each setting stands for that names something on this machine, by setting.

    What a run does not read does not count: other checkpoints of a suite, other files of a corpus's directory.
    """
    return {name: content_hash(files) for name, files in _inputs(config) if files}


def _inputs(config: RunConfig) -> Iterator[tuple[str, dict[str, Path]]]:
    for option, value in config.corpus.items():
        if isinstance(value, str) and option not in _NO_PLACES and (option, value) != ("text", BUG):
            files = _files_at(Path(value))
            yield f"corpus.{option}", files if "" in files else _ending(files, *_CORPUS_FILES)
    for benchmark, options in config.benchmarks.items():
        for option in ("path", "terms"):
            if path := options.get(option):
                yield f"benchmarks.{benchmark}.{option}", _files_at(Path(path))
    model = config.model
    if model.tokenizer is not None:
        yield "model.tokenizer", _of_a_tokenizer(_files_at(Path(model.tokenizer)))
    if model.checkpoints is not None and Path(model.checkpoints).is_dir():
        suite = given_suite(config)
        assert suite is not None
        yield "model.checkpoints", _checkpoints(Path(model.checkpoints), _steps_read(config, suite))
    audited = config.audit.checkpoints
    if config.protocol is Protocol.audit and audited is not None and Path(audited).is_dir():
        yield (
            "audit.checkpoints",
            _checkpoints(Path(audited), {config.step + config.steps}, setting="audit.checkpoints"),
        )


def _files_at(place: Path) -> dict[str, Path]:
    """What a path names, by what is to be told apart: a file, "", the files of a directory, or all with a beginning."""
    if place.is_file():
        return {"": place}
    if place.is_dir():
        return {path.name: path for path in place.iterdir() if path.is_file() and not path.name.startswith(".")}
    if not (place.name and place.parent.is_dir()):
        return {}
    named = (path for path in place.parent.iterdir() if path.name.startswith((f"{place.name}.", f"{place.name}-")))
    return _ending({path.name.removeprefix(place.name): path for path in named if path.is_file()}, *_CORPUS_FILES)


def _ending(files: dict[str, Path], *endings: str) -> dict[str, Path]:
    return {name: path for name, path in files.items() if path.name.endswith(endings)}


def _of_a_tokenizer(files: dict[str, Path]) -> dict[str, Path]:
    return {name: path for name, path in files.items() if any(fnmatchcase(name, each) for each in _TOKENIZER_FILES)}


def _checkpoints(directory: Path, steps: set[int], *, setting: str = "model.checkpoints") -> dict[str, Path]:
    """The files of the checkpoints of some steps, in any format, and what lies beside them all, as a tokenizer does."""
    directory = Path(os.path.abspath(directory))
    found = _of_a_tokenizer(_files_at(directory))
    places = checkpoint_places(directory, setting=setting)
    for step in steps & places.keys():
        for place in places[step]:
            files = (path for path in place.rglob("*") if path.is_file() and path.suffix != ".md")
            found |= {path.relative_to(directory).as_posix(): path for path in files}
    return found


def _steps_read(config: RunConfig, suite: Suite) -> set[int]:
    if config.protocol is Protocol.trajectory:
        return set(find_trajectory(config))
    first = min([config.step, *(plan.origin for plan in find_replays(config, suite))])
    on_the_way = {step for step in suite.steps() if first <= step <= config.step}
    return {config.step, config.step + config.steps, *on_the_way, *find_steps_along(config)}

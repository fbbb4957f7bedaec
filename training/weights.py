"""Weights as transformers stores them: which files hold them, whether they are what they should be, and loading them.

transformers itself fills what a file lacks with random numbers, and says so in a warning. Here the names, shapes and
number formats that the files hold are compared with the model's before anything is loaded, and nothing may differ.
"""

import contextlib
import filecmp
import hashlib
import json
import logging
import os
import pickle
import re
import shlex
import struct
import time
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from foundation import UserError, cache_directory, read_kept, sha256_of_file, write_kept
from training.archives import find_damage
from training.config_fields import SIZES, check_computes_as_pythia, check_known_keys
from training.published import UNMOVED_STEPS

log = logging.getLogger(__name__)

_FORMATS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
_BUFFER = re.compile(r"(.+\.)?(attention\.(bias|masked_bias)|rotary_emb\.inv_freq)")
# what makes transformers fetch and run a hub's code, ask for other packages, or read other files than were looked at
_NOT_PLAIN = ("attn_implementation", "_attn_implementation", "quantization_config", "transformers_weights", "auto_map")
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
_UNREADABLE = (
    AssertionError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)  # all of which a damaged file has been seen to raise
_GIT_LFS_POINTER = b"version https://git-lfs"
_SETTLED_S = 2.0


@dataclass(frozen=True)
class _Stored:
    """One tensor as a file describes it."""

    file: str
    shape: tuple[int, ...]
    dtype: str


def choose_weights(present: Collection[str], read: Callable[[str], str], *, where: str) -> list[str]:
    """Names of the files that hold a model's weights: safetensors where they are whole, else PyTorch's.

    Args:
        present: names of the files that there are.
        read: the text of one of them.
        where: what to call the place.

    Raises:
        UserError: there are none, or a shard is missing.
    """
    lacking = []
    for lone, index in _FORMATS:
        if lone in present:
            return [lone]
        if index in present:
            shards = _shards(read(index), where=f"{where}/{index}")
            missing = [name for name in shards if name not in present]
            if not missing:
                return shards
            lacking.append(f"{missing[0]} is missing ({len(missing)} of {len(shards)} shards are)")
    if lacking:
        raise UserError(f"{where}: {', and '.join(lacking)}; fetch the weights again, whole")
    raise UserError(f"{where} holds no weights; expected model.safetensors, pytorch_model.bin, or shards with an index")


def _shards(index: str, *, where: str) -> list[str]:
    """The files that an index names."""
    try:
        content = json.loads(index)
        names = set(content["weight_map"].values())
        plain = "metadata" in content and all(name and Path(name).name == name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError):
        plain, names = False, set()
    if not plain or not names:
        raise UserError(f"{where} is no index of shards, or is damaged; fetch the weights again, whole")
    return sorted(names)


def weight_files(directory: Path) -> list[Path]:
    """The files of a directory that hold a model's weights.

    Raises:
        UserError: there are none, or a shard is missing.
    """
    if not directory.is_dir():
        raise UserError(f"there is no directory {directory}; expected one that transformers saved a model in")
    files = sorted(directory.iterdir())
    present = {path.name for path in files if path.is_file()}
    try:
        names = choose_weights(present, lambda name: _text(directory / name), where=str(directory))
    except UserError:
        for path in files:
            if path.suffix in (".safetensors", ".bin", ".json"):
                check_leads_somewhere(path)
        raise
    return [directory / name for name in names]


def check_leads_somewhere(path: Path) -> None:
    """Raise UserError where a file is a link to a place where nothing is."""
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path} is a link to {os.readlink(path)}, where nothing is; fetch or copy that file again")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: it is no UTF-8 ({error.reason}); fetch it again") from error


def load_weights(directory: Path) -> GPTNeoXForCausalLM:
    """A GPT-NeoX of a transformers directory, in fp32 on the CPU, in eval mode, with memory of its own.

    Raises:
        UserError: the directory holds no GPT-NeoX, or its weights are not exactly those of the model.
    """
    files = weight_files(directory)
    config, expected = _expected(directory)
    stored = _stored(files)
    _check_tensors(stored, expected, where=str(directory))
    loaded = GPTNeoXForCausalLM.from_pretrained(
        directory,
        config=config,
        dtype=torch.float32,
        use_safetensors=files[0].suffix == ".safetensors",
        output_loading_info=True,
        local_files_only=True,
    )
    model, report = cast(tuple[GPTNeoXForCausalLM, dict[str, Any]], loaded)
    if any(report.values()):
        raise RuntimeError(f"transformers did not load {directory} as it is stored: {report}")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in stored and stored[name].dtype == str(torch.float32):
                parameter.data = parameter.data.clone()  # else it lies in the file, and follows it when that is changed
    return model


def load_into(model: GPTNeoXForCausalLM, directory: Path) -> None:
    """Give a model the weights of a transformers directory where it stands: no second model is made, nothing is moved.

    Raises:
        UserError: as `load_weights`, or the directory holds another model.
    """
    files = weight_files(directory)
    config, expected = _expected(directory)
    check_same_computation(model, config, where=str(directory))
    _check_tensors(_stored(files), expected, where=str(directory))
    for path in files:
        set_weights(model, {_model_name(name): value for name, value in _read_tensors(path).items()})


def save_weights(model: GPTNeoXForCausalLM, directory: Path) -> None:
    """Write config.json and the weights under the names that Pythia's have on the hub.

    transformers itself writes those names or its own, by what a model was read from; its version 4 knows only the
    published ones, and draws an output embedding that it does not find.
    """
    published = {re.sub(r"^lm_head\.", "embed_out.", name): value for name, value in model.state_dict().items()}
    model.save_pretrained(directory, state_dict=published, save_original_format=False)


def check_finite(model: GPTNeoXForCausalLM, *, where: str) -> None:
    """Raise UserError where a weight is no number: nothing that a model with one says means anything."""
    for name, value in model.named_parameters():
        if not bool(torch.stack(torch.aminmax(value.detach())).isfinite().all()):
            raise UserError(f"the model in {where} has weights that are no numbers, first in {name}; fetch it again")


def set_weights(model: GPTNeoXForCausalLM, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into the model's parameters of those names; names that are no parameter's are passed over."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in parameters.keys() & tensors.keys():
            parameters[name].copy_(tensors[name])


def check_same_computation(model: GPTNeoXForCausalLM, config: GPTNeoXConfig, *, where: str) -> None:
    """Raise UserError where a model of `config` is of other sizes than `model`.

    All else that decides what a model computes is the same for all that `read_config` lets pass.
    """
    for key in SIZES:
        if getattr(model.config, key) != getattr(config, key):
            raise UserError(
                f"the model in {where} has {key}={getattr(config, key)}, the one before it has "
                f"{getattr(model.config, key)}; expected checkpoints of one model"
            )


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    tensors: dict[str, torch.Tensor] = torch.load(
        path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
    )
    return tensors


def _model_name(stored_name: str) -> str:
    return re.sub(r"^embed_out\.", "lm_head.", stored_name)


def _expected(directory: Path) -> tuple[GPTNeoXConfig, dict[str, tuple[int, ...]]]:
    """The configuration of a directory, and the shapes that it gives the tensors."""
    config = read_config(directory)
    try:
        with torch.device("meta"):
            state = GPTNeoXForCausalLM(config).state_dict()
    except (*_UNREADABLE, ZeroDivisionError) as error:
        raise UserError(_makes_none(directory, error)) from error
    return config, {name: tuple(tensor.shape) for name, tensor in state.items()}


def read_config(directory: Path) -> GPTNeoXConfig:
    """The configuration of a model that computes what a Pythia of its sizes computes.

    Raises:
        UserError: config.json is missing or damaged, is of another kind of model or of one that computes otherwise, or
            asks transformers for more than a GPT-NeoX of its own: other code, other files.
    """
    path = directory / "config.json"
    check_leads_somewhere(path)
    if not path.is_file():
        raise UserError(f"{directory} holds no config.json; expected a directory that transformers saved a model in")
    content = _plain_content(path)
    kind = content.get("model_type")
    if kind != "gpt_neox":
        raise UserError(f"{path} is of a model of type {kind}, expected gpt_neox; name a Pythia")
    check_known_keys(content, path)
    try:
        config = GPTNeoXConfig.from_pretrained(directory, local_files_only=True)
    except (*_UNREADABLE, StrictDataclassError, ZeroDivisionError) as error:
        raise UserError(_makes_none(directory, error)) from error
    check_computes_as_pythia(config, path)
    return config


def _makes_none(directory: Path, error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, StrictDataclassError) else None  # it says which value, and why not
    reason = _first_line(cause if isinstance(cause, Exception) else error)
    return f"{directory / 'config.json'} makes no GPT-NeoX ({reason}); correct it, or fetch it again"


def _plain_content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it is no JSON object; fetch it again")
    for key in _NOT_PLAIN:
        if content.get(key) is not None:
            raise UserError(
                f"{path} sets {key}, which can make transformers run code or read files that nobody looked at, and is "
                f"refused; take the model as Pythia publishes it, or remove {key}"
            )
    return content


def _stored(files: list[Path]) -> dict[str, _Stored]:
    """What the files hold, under the names that the model has for it; buffers of old versions left out."""
    found: dict[str, _Stored] = {}
    for path in files:
        for stored_name, (shape, dtype) in _read_header(path).items():
            if _BUFFER.fullmatch(stored_name):
                continue
            name = _model_name(stored_name)
            if name in found:
                raise UserError(f"{path} holds {stored_name}, which {found[name].file} holds too; fetch both again")
            found[name] = _Stored(path.name, shape, dtype)
    return found


def _read_header(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and number format of every tensor in a file, without reading the tensors where the format allows it."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
                return {
                    name: (tuple(piece.get_shape()), str(_DTYPES.get(piece.get_dtype(), piece.get_dtype())))
                    for name, piece in slices.items()
                }
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        damage = find_damage(path)
        if damage is not None:
            raise zipfile.BadZipFile(damage)
    except _UNREADABLE as error:
        raise UserError(_why_unreadable(path, error)) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected a dict of tensors")
    return {str(name): _described(value) for name, value in content.items()}


def _described(value: Any) -> tuple[tuple[int, ...], str]:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), str(value.dtype)
    return (), type(value).__name__


def _why_unreadable(path: Path, error: Exception) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(len(_GIT_LFS_POINTER)) == _GIT_LFS_POINTER:
            return f"{path} is a pointer of git-lfs, not the weights; run `git lfs pull` there"
    code = re.search(r"unsupported global:? (?:GLOBAL )?(\S+)", str(error), re.IGNORECASE)
    if code is not None:
        return (
            f"{path} asks for {code[1]} when it is opened: it holds code, not only tensors, and is refused; take the "
            f"model's safetensors"
        )
    return f"{path} is damaged or no file of weights ({_first_line(error)}); fetch it again"


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    if not text or isinstance(error, pickle.UnpicklingError):  # PyTorch's text tells how to let the code run
        return type(error).__name__
    return f"{type(error).__name__}: {text[:120]}"


def _check_tensors(stored: dict[str, _Stored], expected: dict[str, tuple[int, ...]], *, where: str) -> None:
    """Raise UserError where the files hold not exactly the model's tensors."""
    missing = [name for name in expected if name not in stored]
    if missing:
        raise UserError(
            f"{where} lacks {len(missing)} of the model's {len(expected)} tensors, first {missing[0]}; it is another "
            f"model's, or not whole: fetch config.json and the weights again"
        )
    unexpected = [name for name in stored if name not in expected]
    if unexpected:
        raise UserError(
            f"{where} holds {len(unexpected)} tensors that the model has not, first {unexpected[0]} (in "
            f"{stored[unexpected[0]].file}); config.json and the weights do not belong together: fetch both again"
        )
    misshaped = [name for name, tensor in stored.items() if tensor.shape != expected[name]]
    if misshaped:
        name = misshaped[0]
        raise UserError(
            f"{where} holds {len(misshaped)} tensors of another shape than the model's, first {name}: "
            f"{list(stored[name].shape)}, expected {list(expected[name])}; config.json and the weights do not belong "
            f"together: fetch both again"
        )
    formats = {str(dtype) for dtype in _DTYPES.values()}
    strange = [name for name, tensor in stored.items() if tensor.dtype not in formats]
    if wide := [name for name in strange if stored[name].dtype in ("F64", "torch.float64")]:
        raise UserError(
            f"{where} holds {len(wide)} tensors in float64, first {wide[0]}, expected float16, bfloat16 or float32; "
            f"round them: {_rounding(Path(where))}"
        )
    if strange:
        raise UserError(
            f"{where} holds {len(strange)} tensors in a number format that is not read, first {strange[0]}: "
            f"{stored[strange[0]].dtype}, expected float16, bfloat16 or float32; take the model unquantised"
        )


def _rounding(directory: Path) -> str:
    """The command that writes a model in float32, in another directory."""
    script = (
        "import shutil, sys, transformers; shutil.copytree(*sys.argv[1:]); transformers.AutoModelForCausalLM"
        '.from_pretrained(sys.argv[1], dtype="float32").save_pretrained(sys.argv[2])'
    )
    rounded = directory.parent.with_name(f"{directory.parent.name}-float32") / directory.name
    return shlex.join(["python", "-c", script, str(directory), str(rounded)])


def weights_fingerprint(directory: Path) -> str:
    """One SHA-256 for the weights of a directory: the file's own for a lone model.safetensors, which the hub shows."""
    hashes = {path.name: remembered_sha256(path) for path in weight_files(directory)}
    if list(hashes) == ["model.safetensors"]:
        return hashes["model.safetensors"]
    pairs = "".join(f"{name} {sha256}\n" for name, sha256 in hashes.items())
    return hashlib.sha256(pairs.encode()).hexdigest()


def remembered_sha256(path: Path) -> str:
    """SHA-256 of a large file, read once: it is remembered for as long as the file's size and time stay as they are.

    A file that changed within the last seconds is read anew each time, for its time may not tell two changes apart.
    """
    path = path.resolve()
    name = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    memory = cache_directory() / "hashes" / f"{name}.json"
    before = path.stat()
    state = {"path": str(path), "size": before.st_size, "mtime_ns": before.st_mtime_ns, "inode": before.st_ino}
    known = read_kept(memory)
    if known is not None and known["file"] == state:
        return str(known["sha256"])
    if before.st_size > 1 << 30:
        log.info("hashing %s (%.1f GB), once", path, before.st_size / 1e9)
    started = time.time()
    sha256 = sha256_of_file(path)
    if started - before.st_mtime > _SETTLED_S and path.stat().st_mtime_ns == before.st_mtime_ns:
        write_kept(memory, {"file": state, "sha256": sha256})
    return sha256


def step_directories(directory: Path) -> dict[int, Path]:
    """The `step<N>` directories in a directory, by step, in order."""
    matches = ((re.fullmatch(r"step(\d+)", path.name), path) for path in directory.glob("step*"))
    return dict(sorted((int(match[1]), path) for match, path in matches if match))


def check_distinct_steps(directory: Path, *, step: int) -> None:
    """Raise UserError where the weights of `directory/step<step>` are also those of the latest or a neighbouring step.

    Files that differ do so near their beginning, so that little is read.

    Args:
        directory: holds the `step<N>` directories.
    """
    directories = step_directories(directory)
    if step not in directories:  # the directory is itself the checkpoint, a suite of one step
        return
    below = [other for other in directories if other < step]
    above = [other for other in directories if other > step]
    for other in sorted({*below[-1:], *above[:1], *above[-1:]}, reverse=True):
        if {step, other} <= UNMOVED_STEPS:
            continue
        for file in weight_files(directories[step]):
            twin = directories[other] / file.name
            if twin.is_file() and _same_content(file, twin):
                raise UserError(
                    f"{file} is the same as step{other}'s, but no two steps have the same weights: one of them is not "
                    f"what its name says, as some published ones are (EleutherAI/pythia#205, #206); take another step"
                )


def _same_content(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    return one.samefile(other) or filecmp.cmp(one, other, shallow=False)

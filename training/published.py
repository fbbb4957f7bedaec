"""What is published of Pythia: sizes, steps, names of repositories, and what is known to be wrong with some of them."""

import re
from dataclasses import dataclass

from foundation import UserError

_LAST_DOUBLING = 512


def checkpoint_steps(train_iters: int, every: int) -> list[int]:
    """Pythia's choice of steps: 0, the powers of two up to 512, and every `every`-th, as far as training goes."""
    doublings = {2**k for k in range(_LAST_DOUBLING.bit_length())}
    return sorted(step for step in {0} | doublings | set(range(0, train_iters + 1, every)) if step <= train_iters)


SIZES = ("14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")
FINAL_STEP = 143_000
STEPS = tuple(checkpoint_steps(FINAL_STEP, 1000))
SEEDED_SIZES = ("14m", "31m", "70m", "160m", "410m")
SEEDS = range(1, 10)
VARIED_SEEDS = range(1, 4)  # of pythia-160m-data-seedN and -weight-seedN

# The first update has learning rate 0, so step 1 is step 0 (EleutherAI/pythia#83); #198 reports the same of step 2.
UNMOVED_STEPS = frozenset({0, 1, 2})

_OWNER = "EleutherAI"
_SUCCESSORS = {
    "19m": "70m",
    "125m": "160m",
    "350m": "410m",
    "800m": "1b",
    "1.3b": "1.4b",
    "2.7b": "2.8b",
    "6.7b": "6.9b",
    "13b": "12b",
}
_MODEL = re.compile(
    r"pythia-(?P<intervened>intervention-)?(?P<size>\d+(\.\d+)?[mb])(?P<deduped>-deduped)?"
    r"(-(?P<varied>data-|weight-)?seed(?P<seed>\d+))?"
)
_NAME = re.compile(r"(?P<prefix>.*pythia-)?(?P<size>\d+(\.\d+)?[mb])(?P<rest>-.*)?", re.IGNORECASE)


def published_repository(size: str, *, deduped: bool, seed: int) -> str:
    """Name on the hub of a model of the suite.

    Args:
        deduped: trained on the deduplicated Pile, or on the standard one.
        seed: 0 for the published suite, 1 to 9 for PolyPythias.

    Raises:
        UserError: there is no such model; the message says what there is.
    """
    check_not_v0(size)
    if size not in SIZES:
        raise UserError(f"size {size} is none of Pythia's; take one of {', '.join(SIZES)}")
    if seed == 0:
        return f"{_OWNER}/pythia-{size}{'-deduped' if deduped else ''}"
    if seed not in SEEDS or size not in SEEDED_SIZES or deduped:
        raise UserError(
            f"size={size} deduped={str(deduped).lower()} seed={seed} is not published; seeds {SEEDS[0]} to {SEEDS[-1]} "
            f"are of {', '.join(SEEDED_SIZES)} on the standard Pile (model.deduped=false), others have model.seed=0"
        )
    return f"{_OWNER}/pythia-{size}-seed{seed}"


@dataclass(frozen=True)
class PublishedModel:
    """What a name on the hub says of a model of the suite.

    Attributes:
        order: the seed of its data order: 0 is that of the published suite.
        intervened: whether its last steps read a text with swapped pronouns.
    """

    size: str
    deduped: bool
    order: int
    intervened: bool


def published_model(location: str) -> PublishedModel | None:
    """What the name of a repository, or of a copy of one, says; None where it is no name of the suite's.

    PolyPythias' models are called by what was varied: -seedN everything, -data-seedN the order alone, -weight-seedN the
    initial weights alone, so that these read the order of the suite.
    """
    name = _name_of(location).lower()
    match = _MODEL.fullmatch(name)
    if match is None or match["size"] not in SIZES:
        return None
    seed, varied, deduped = int(match["seed"] or 0), match["varied"], match["deduped"] is not None
    known = match["size"] == "160m" and seed in VARIED_SEEDS if varied else match["size"] in SEEDED_SIZES
    if match["seed"] is not None and not (known and seed in SEEDS and not deduped):
        return None
    return PublishedModel(
        match["size"], deduped, 0 if varied == "weight-" else seed, intervened=match["intervened"] is not None
    )


def _name_of(location: str) -> str:
    return location.rstrip("/").rpartition("/")[2]


def is_of_suite(repository: str) -> bool:
    """Whether a repository is EleutherAI's, with a branch for each of the suite's steps."""
    owner, _, _ = repository.rpartition("/")
    model = published_model(repository)
    return owner.lower() == _OWNER.lower() and model is not None and not model.intervened


def check_same_model(repository: str, *, size: str, deduped: bool, seed: int) -> None:
    """Raise UserError where a repository is by its name another model of the suite than a run is set up for.

    The data order, and often the recipe, would be another's; nothing in the weights tells.
    """
    model = published_model(repository)
    if model is None:
        owner, name = repository.removeprefix("hf://").rpartition("/")[0], _name_of(repository).lower()
        if owner.lower() == _OWNER.lower() and name.startswith("pythia-") and repository.startswith("hf://"):
            raise UserError(
                f"{repository} is none of the models whose data order and recipe are known; take "
                f"hf://{_OWNER}/pythia-SIZE, pythia-SIZE-deduped, pythia-SIZE-seedN, or pythia-160m-data-seedN and "
                f"-weight-seedN (N of {VARIED_SEEDS[0]} to {VARIED_SEEDS[-1]})"
            )
        return
    if model.intervened:
        raise UserError(
            f"{repository} read swapped text in its last steps; it is for "
            f"protocol=audit: set audit.checkpoints to it, and leave model.checkpoints out"
        )
    if (model.size, model.deduped, model.order) != (size, deduped, seed):
        expected = published_repository(size, deduped=deduped, seed=seed).rpartition("/")[2]
        raise UserError(
            f"{repository} is not {expected}, or of its data order, which this run is set up for; set "
            f"model={model.size} model.deduped={str(model.deduped).lower()} model.seed={model.order}"
        )


def check_not_v0(repository_or_size: str) -> None:
    """Raise UserError for a model of the suite's first release (v0), which had other batches, steps and schedules."""
    name = repository_or_size.rstrip("/").rpartition("/")[2]
    match = _NAME.fullmatch(name)
    size = match["size"].lower() if match else None
    marked = name.lower().endswith("-v0") and "pythia" in name.lower()
    if not marked and size not in _SUCCESSORS:
        return
    known = _SUCCESSORS.get(size or "", size if size in SIZES else None)
    deduped = "-deduped" if "-deduped" in name.lower() else ""
    remedy = f"{_OWNER}/pythia-{known}{deduped}" if known else "its successor without -v0"
    raise UserError(
        f"{repository_or_size} is of Pythia's first release (v0), whose 160M, 410M and 1.4B models made 71,500 steps "
        f"of 4M tokens under doubled names of steps, and whose 6.9B and 12B models decayed to a learning rate of 0: "
        f"steps, batches and schedules here do not fit them; take {remedy}"
    )


@dataclass(frozen=True)
class _Caveat:
    """A fact about a repository.

    Attributes:
        repository: a pattern of its name, without the owner.
        steps: where it holds; None is everywhere.
        text: what is said, of `{name}` and `{step}`.
        unusable: whether the weights there are not those of the step.
    """

    repository: str
    steps: frozenset[int] | None
    text: str
    unusable: bool = False


_EQUAL_TO_MAIN = {step for step in STEPS if step <= 53_000}
_EQUAL_TO_MAIN |= {1000 * k for k in (55, 60, 65, 70, 80, 90, 100, 103, 110, 120, 130, 140)}
_EQUAL_TO_FINAL = {1000 * k for k in (54, 56, 57, 58, 59, 61, 62, 63, 64)}

_CAVEATS = (
    _Caveat(
        "pythia-2.8b",
        frozenset(_EQUAL_TO_MAIN | _EQUAL_TO_FINAL),
        "{name} step{step} was found to serve weights of the end of training, as 86 of its 154 steps do "
        "(EleutherAI/pythia#205, #195)",
        unusable=True,
    ),
    _Caveat(
        "pythia-2.8b",
        None,
        "{name} serves different files as main and as step143000; 9 other steps serve step143000's "
        "(EleutherAI/pythia#205)",
    ),
    _Caveat(
        "pythia-12b",
        frozenset({50_000, 58_000}),
        "{name} step{step} was found to serve the final model's first shard, with the input embeddings and the lower "
        "layers (EleutherAI/pythia#206)",
        unusable=True,
    ),
    _Caveat(
        "pythia-12b-deduped",
        frozenset({32_000}),
        "{name} step{step} held weights of the end of training until it was uploaded again in June 2023: an older copy "
        "is wrong (EleutherAI/pythia#108)",
    ),
    *(
        _Caveat(
            f"pythia-410m-seed{seed}",
            frozenset({step}),
            "{name} step{step} was found to have no weights (EleutherAI/pythia#202)",
            unusable=True,
        )
        for seed, step in ((9, 40_000), (6, 88_000), (2, 111_000))
    ),
    _Caveat(
        "pythia-160m-weight-seed[12]",
        frozenset(STEPS) - {0},
        "{name} step{step} does not continue from the repository's own step0 (EleutherAI/pythia#203)",
    ),
    _Caveat(
        "pythia-160m-weight-seed[1-3]",
        None,
        "{name} is taken to have read the published suite's data order, as its name says; what is reported of its "
        "checkpoints makes that doubtful (EleutherAI/pythia#203)",
    ),
    _Caveat(
        "pythia-14m",
        None,
        "{name} served the model of the deduplicated Pile until 2026-02-27, as its card says: a copy from before has "
        "the data order of {name}-deduped",
    ),
    _Caveat(
        "pythia-31m",
        None,
        "{name} served the model of the deduplicated Pile, whose card names no other: make sure that the copy is not "
        "{name}-deduped, which has another data order",
    ),
    _Caveat(
        "pythia-.+",
        frozenset({1}),
        "{name} step1 is step0: the first update has learning rate 0 (EleutherAI/pythia#83)",
    ),
    _Caveat(
        "pythia-.+",
        frozenset({2}),
        "{name} step2 was reported to be step0 (EleutherAI/pythia#198)",
    ),
)


def known_caveats(repository: str, step: int) -> list[str]:
    """What a reader of any result from a step of a repository must know, each with the issue that reports it."""
    return [caveat.text.format(name=repository, step=step) for caveat in _caveats_of(repository, step)]


def known_fault(repository: str, step: int) -> str | None:
    """Why the weights that a repository serves as a step are not the step's; None where nothing of it is known."""
    faults = (caveat for caveat in _caveats_of(repository, step) if caveat.unusable)
    return next((caveat.text.format(name=repository, step=step) for caveat in faults), None)


def _caveats_of(repository: str, step: int) -> list[_Caveat]:
    owner, _, name = repository.rpartition("/")
    if owner.lower() != _OWNER.lower():
        return []
    return [
        caveat
        for caveat in _CAVEATS
        if re.fullmatch(caveat.repository, name, re.IGNORECASE) and (caveat.steps is None or step in caveat.steps)
    ]


def check_trained_precision(size: str, *, deduped: bool, precision: str, rope: str) -> None:
    """Raise UserError where a model of the suite is taken to have been trained in another precision than it was.

    Its rotary tables were in the same.

    All were trained in fp16 but for 1b on the standard Pile (EleutherAI/pythia's README; pythia#171 of its sibling).
    """
    trained_in = "bf16" if size == "1b" and not deduped else "fp16"
    if (precision, rope) != (trained_in, f"neox_{trained_in}"):
        raise UserError(
            f"pythia-{size}{'-deduped' if deduped else ''} was trained in {trained_in}, but model.precision is "
            f"{precision} and model.numerics.rope {rope}; set model.precision={trained_in} "
            f"model.numerics.rope=neox_{trained_in} (training.precision and training.numerics change the arms)"
        )

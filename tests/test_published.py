import pytest

from foundation import UserError
from training.published import (
    SIZES,
    STEPS,
    check_not_v0,
    check_same_model,
    is_of_suite,
    known_caveats,
    known_fault,
    published_repository,
)


def test_the_suite_has_ten_sizes_and_154_steps():
    assert len(SIZES) == 10
    assert len(STEPS) == 154
    assert STEPS[:12] == (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
    assert STEPS[-2:] == (142_000, 143_000)


@pytest.mark.parametrize(
    ("size", "deduped", "seed", "name"),
    [
        ("14m", False, 0, "EleutherAI/pythia-14m"),
        ("70m", True, 0, "EleutherAI/pythia-70m-deduped"),
        ("6.9b", False, 0, "EleutherAI/pythia-6.9b"),
        ("12b", True, 0, "EleutherAI/pythia-12b-deduped"),
        ("410m", False, 9, "EleutherAI/pythia-410m-seed9"),
        ("31m", False, 1, "EleutherAI/pythia-31m-seed1"),
    ],
)
def test_a_model_has_its_name_on_the_hub(size, deduped, seed, name):
    assert published_repository(size, deduped=deduped, seed=seed) == name


@pytest.mark.parametrize(
    ("size", "deduped", "seed"), [("70m", True, 1), ("1b", False, 1), ("410m", False, 10), ("410m", False, -1)]
)
def test_a_seed_that_is_not_published_is_refused_with_those_that_are(size, deduped, seed):
    with pytest.raises(UserError, match=f"size={size} .* seed={seed} is not published; seeds 1 to 9 are of 14m, 31m,"):
        published_repository(size, deduped=deduped, seed=seed)


def test_a_size_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match=r"size 3b is none of Pythia's; take one of 14m, .*, 12b"):
        published_repository("3b", deduped=True, seed=0)


@pytest.mark.parametrize(
    ("name", "successor"),
    [
        ("EleutherAI/pythia-410m-v0", "EleutherAI/pythia-410m"),
        ("EleutherAI/pythia-1.4b-deduped-v0", "EleutherAI/pythia-1.4b-deduped"),
        ("EleutherAI/neox-ckpt-pythia-70m-deduped-v0", "EleutherAI/pythia-70m-deduped"),
        ("EleutherAI/pythia-1.3b-deduped", "EleutherAI/pythia-1.4b-deduped"),
        ("somebody/copy-of-pythia-v0", "its successor without -v0"),
        ("19m", "EleutherAI/pythia-70m"),
        ("125m", "EleutherAI/pythia-160m"),
        ("350M", "EleutherAI/pythia-410m"),
        ("800m", "EleutherAI/pythia-1b"),
        ("1.3b", "EleutherAI/pythia-1.4b"),
        ("2.7b", "EleutherAI/pythia-2.8b"),
        ("6.7b", "EleutherAI/pythia-6.9b"),
        ("13b", "EleutherAI/pythia-12b"),
    ],
)
def test_the_first_release_is_refused_wherever_it_is_named(name, successor):
    with pytest.raises(UserError) as refusal:
        check_not_v0(name)
    message = str(refusal.value)
    assert message.startswith(f"{name} is of Pythia's first release (v0)")
    assert "71,500 steps of 4M tokens" in message
    assert message.endswith(f"take {successor}")
    assert "\n" not in message


def test_everything_published_passes_for_the_present_release():
    for size in SIZES:
        for name in (size, f"EleutherAI/pythia-{size}", f"EleutherAI/pythia-{size}-deduped"):
            check_not_v0(name)
    for name in ("EleutherAI/pythia-410m-seed3", "EleutherAI/neox-ckpt-pythia-1b-deduped-v1", "me/model-v0", "runs/13"):
        check_not_v0(name)


def test_a_v0_size_is_refused_as_a_size_of_the_suite_too():
    with pytest.raises(UserError, match=r"1.3b is of Pythia's first release .* take EleutherAI/pythia-1.4b"):
        published_repository("1.3b", deduped=True, seed=0)


@pytest.mark.parametrize(
    ("repository", "size", "deduped", "seed", "remedy"),
    [
        ("hf://EleutherAI/pythia-410m", "410m", True, 0, "model=410m model.deduped=false model.seed=0"),
        ("hf://EleutherAI/pythia-410m-deduped", "410m", False, 0, "model=410m model.deduped=true model.seed=0"),
        ("hf://a-mirror/pythia-410m-seed3", "410m", False, 4, "model=410m model.deduped=false model.seed=3"),
        ("hf://EleutherAI/pythia-160m-deduped", "410m", True, 0, "model=160m model.deduped=true model.seed=0"),
    ],
)
def test_a_repository_that_is_another_model_than_the_run_is_set_up_for_is_refused(
    repository, size, deduped, seed, remedy
):
    with pytest.raises(UserError) as refusal:
        check_same_model(repository, size=size, deduped=deduped, seed=seed)
    assert str(refusal.value).startswith(f"{repository} is not pythia-{size}")
    assert str(refusal.value).endswith(f"set {remedy}")


def test_a_repository_of_the_model_itself_or_of_an_unknown_name_passes():
    check_same_model("hf://EleutherAI/pythia-410m-deduped", size="410m", deduped=True, seed=0)
    check_same_model("hf://EleutherAI/pythia-160m-seed9", size="160m", deduped=False, seed=9)
    check_same_model("hf://me/my-pythia", size="410m", deduped=True, seed=0)
    check_same_model("hf://me/pythia-410m-mine", size="410m", deduped=True, seed=0)
    check_same_model("runs/EleutherAI/pythia-own", size="410m", deduped=True, seed=0)


@pytest.mark.parametrize(
    ("name", "seed"),
    [("data-seed1", 1), ("data-seed3", 3), ("Data-Seed2", 2), ("weight-seed1", 0), ("weight-seed3", 0), ("seed4", 4)],
)
@pytest.mark.parametrize("owner", ["hf://EleutherAI/", "hf://a-mirror/", "copies/"])
def test_a_model_of_polypythias_is_of_the_data_order_that_its_name_says(owner, name, seed):
    location = f"{owner}pythia-160m-{name}"
    check_same_model(location, size="160m", deduped=False, seed=seed)
    for other in {0, 1, 2, 3} - {seed}:
        with pytest.raises(UserError, match=f"set model=160m model.deduped=false model.seed={seed}$"):
            check_same_model(location, size="160m", deduped=False, seed=other)


@pytest.mark.parametrize(
    "name",
    [
        "pythia-160m-alldropout",
        "pythia-160m-data-seed4",
        "pythia-410m-data-seed1",
        "pythia-160m-weight-seed0",
        "pythia-160m-deduped-seed1",
        "pythia-1b-seed1",
        "pythia-160m-seed10",
        "pythia-160m-tokens-seed1",
    ],
)
def test_a_model_of_eleutherai_whose_order_is_not_known_is_refused_with_those_that_are(name):
    with pytest.raises(UserError, match=rf"{name} is none of the models whose data order .* pythia-160m-data-seedN"):
        check_same_model(f"hf://EleutherAI/{name}", size="160m", deduped=False, seed=0)


def test_the_intervened_model_is_refused_as_a_suite_and_named_as_what_an_audit_looks_into():
    with pytest.raises(UserError, match=r"read swapped text in its last steps; it is for protocol=audit: set audit"):
        check_same_model("hf://EleutherAI/pythia-intervention-1.4b-deduped", size="1.4b", deduped=True, seed=0)


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ("EleutherAI/pythia-12b-deduped", True),
        ("EleutherAI/pythia-31m-seed3", True),
        ("EleutherAI/pythia-160m-data-seed2", True),
        ("EleutherAI/pythia-intervention-410m-deduped", False),
        ("EleutherAI/pythia-160m-alldropout", False),
        ("me/pythia-12b-deduped", False),
    ],
)
def test_whose_branches_are_known_without_asking(repository, expected):
    assert is_of_suite(repository) is expected


@pytest.mark.parametrize(
    ("repository", "step", "issue"),
    [
        ("EleutherAI/pythia-2.8b", 103_000, "pythia#205"),
        ("EleutherAI/pythia-2.8b", 64_000, "pythia#205"),
        ("EleutherAI/pythia-12b", 50_000, "pythia#206"),
        ("EleutherAI/pythia-12b", 58_000, "pythia#206"),
        ("EleutherAI/pythia-12b-deduped", 32_000, "pythia#108"),
        ("EleutherAI/pythia-410m-seed9", 40_000, "pythia#202"),
        ("EleutherAI/pythia-410m-seed6", 88_000, "pythia#202"),
        ("EleutherAI/pythia-410m-seed2", 111_000, "pythia#202"),
        ("EleutherAI/pythia-160m-weight-seed1", 4, "pythia#203"),
        ("EleutherAI/pythia-160m-weight-seed3", 0, "published suite's data order"),
        ("EleutherAI/pythia-70m", 1, "pythia#83"),
        ("EleutherAI/pythia-70m", 2, "pythia#198"),
        ("EleutherAI/pythia-14m", 133_000, "until 2026-02-27"),
        ("EleutherAI/pythia-31m", 133_000, "EleutherAI/pythia-31m-deduped"),
    ],
)
def test_what_is_wrong_with_a_step_is_said_with_its_issue(repository, step, issue):
    caveats = [caveat for caveat in known_caveats(repository, step) if issue in caveat]
    assert caveats
    assert all(caveat.startswith(repository) and "\n" not in caveat for caveat in caveats)


@pytest.mark.parametrize(
    ("repository", "step"),
    [
        ("EleutherAI/pythia-1.4b-deduped", 133_000),
        ("EleutherAI/pythia-2.8b-deduped", 103_000),
        ("EleutherAI/pythia-12b", 51_000),
        ("EleutherAI/pythia-14m-deduped", 133_000),
        ("EleutherAI/pythia-410m-seed9", 41_000),
        ("somebody/pythia-2.8b", 103_000),
        ("pythia-2.8b", 103_000),
    ],
)
def test_nothing_is_said_of_a_step_of_which_nothing_is_known(repository, step):
    assert known_caveats(repository, step) == []


def test_86_steps_of_2_8b_are_known_to_be_of_the_end_of_training():
    late = [step for step in STEPS if any("end of training" in text for text in known_caveats(BIG, step))]
    assert late == [step for step in STEPS if known_fault(BIG, step) is not None]
    assert len(late) + 1 == 86  # and step143000 itself
    assert 133_000 not in late
    assert all("as main and as step143000" in known_caveats(BIG, step)[-1] for step in (133_000, 143_000))


BIG = "EleutherAI/pythia-2.8b"


@pytest.mark.parametrize(
    ("repository", "steps"),
    [
        ("EleutherAI/pythia-12b", [50_000, 58_000]),
        ("EleutherAI/pythia-410m-seed9", [40_000]),
        ("EleutherAI/pythia-410m-seed2", [111_000]),
        ("EleutherAI/pythia-12b-deduped", []),
        ("EleutherAI/pythia-160m-weight-seed1", []),
        ("me/pythia-12b", []),
    ],
)
def test_the_steps_whose_weights_are_known_to_be_others(repository, steps):
    assert [step for step in STEPS if known_fault(repository, step) is not None] == steps

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from conf.arguments import CONF
from conf.compose import configure
from conf.finding import find_corpus
from foundation import UserError
from interventions import INTERVENTIONS
from test_recipe import pythia
from training import Architecture, Numerics

ROOT = Path(__file__).parent.parent
COMMANDS = {  # they connect the parts, as run.py does
    *(ROOT / "corpus" / f"{name}.py" for name in ("show", "fetch", "verify")),
    ROOT / "interventions" / "preview" / "__main__.py",
    ROOT / "training" / "conformance.py",
    *(ROOT / "reports" / f"{name}.py" for name in ("collect", "published_figure", "study")),
}
SIZES = ["14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b"]
PACKAGES = ["corpus", "eval", "foundation", "interventions", "reports", "training"]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))


def composed(*overrides):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("config", overrides=["output_dir=somewhere", *overrides])


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_lacks_nothing(experiment):
    config = composed(f"experiment={experiment}")
    assert not OmegaConf.missing_keys(config)
    OmegaConf.to_object(config)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_opens_with_its_command(experiment):
    _, first_line, *_ = (ROOT / "conf" / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    assert first_line.startswith(f"# python run.py experiment={experiment}")


def test_every_intervention_has_its_file_of_that_name():
    files = (ROOT / "conf" / "intervention").glob("*.yaml")
    assert {path.stem: OmegaConf.load(path).name for path in files} == {name: name for name in INTERVENTIONS}


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: file.relative_to(CONF).as_posix())
def test_no_value_ends_at_a_number_sign_that_yaml_takes_for_a_comment(file):
    for line in file.read_text("utf-8").splitlines():
        unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", line)
        assert not re.search(r"\S\s#(?! )", unquoted), line


@pytest.mark.parametrize("size", ["14m", "31m"])
def test_every_caveat_is_a_whole_sentence(size):
    for caveat in configure([f"model={size}"]).model.caveats:
        assert caveat.endswith("."), caveat


def test_an_experiment_wins_over_the_defaults():
    assert (composed().step, composed("experiment=smoke").step) == (2880, 6)


def test_the_arms_are_trained_by_the_suites_recipe_unless_told_otherwise():
    config = OmegaConf.to_object(composed("training.lr=1e-3"))
    assert config.training.lr == 1e-3
    assert config.model.recipe.lr == 4e-3
    assert config.training.sequences_per_step == config.model.recipe.sequences_per_step


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_no_part_imports_a_command(command):
    imported = re.compile(rf"(?<!python -m ){command.parent.name}\.{command.stem}\b")
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert not imported.search(path.read_text()), path


@pytest.mark.parametrize(
    ("size", "lr", "layers", "hidden", "heads", "vocab", "ranks"),
    [
        ("14m", 1e-3, 6, 128, 4, 50304, 1),
        ("31m", 1e-3, 6, 256, 8, 50304, 1),
        ("70m", 1e-3, 6, 512, 8, 50304, 1),
        ("160m", 6e-4, 12, 768, 12, 50304, 1),
        ("410m", 3e-4, 24, 1024, 16, 50304, 1),
        ("1b", 2.5e-4, 16, 2048, 8, 50304, 1),
        ("1.4b", 2e-4, 24, 2048, 16, 50304, 1),
        ("2.8b", 1.6e-4, 32, 2560, 32, 50304, 1),
        ("6.9b", 1.2e-4, 32, 4096, 32, 50432, 2),
        ("12b", 1.2e-4, 36, 5120, 40, 50688, 4),
    ],
)
def test_every_size_has_the_recipe_and_the_shape_of_its_own_configuration_file(
    size, lr, layers, hidden, heads, vocab, ranks
):
    config = OmegaConf.to_object(composed(f"model={size}"))
    assert config.model.recipe.min_lr == pytest.approx(lr / 10)
    assert config.model.recipe == pythia(lr, min_lr=config.model.recipe.min_lr, model_parallel_size=ranks)
    assert config.model.architecture == Architecture(layers, hidden, heads, vocab)
    assert (config.model.precision, config.model.numerics) == ("fp16", Numerics("tanh", "neox_fp16"))


@pytest.mark.parametrize("size", SIZES)
def test_every_size_reads_the_pile_in_the_order_it_was_trained_on(size):
    config = OmegaConf.to_object(composed(f"model={size}"))
    assert config.model.name == f"pythia-{size}"
    assert config.model.recipe.min_lr == pytest.approx(config.model.recipe.lr / 10)
    assert config.training.sequences_per_step == 1024
    assert find_corpus(config.corpus).location.startswith("hf://datasets/EleutherAI/pile-deduped-pythia")
    standard = OmegaConf.to_object(composed(f"model={size}", "model.deduped=false"))
    assert find_corpus(standard.corpus).location.startswith("hf://datasets/EleutherAI/pile-standard-pythia")


def test_a_corpus_that_is_named_wins_over_the_models_own():
    config = OmegaConf.to_object(composed("model=70m", "corpus=pile_standard"))
    assert (config.corpus["deduped"], config.corpus["seed"]) == (False, 0)
    assert composed("model=70m", "corpus=local", "corpus.location=here").corpus.location == "here"


def test_a_seed_reads_an_order_of_its_own():
    config = composed("model=160m", "model.deduped=false", "model.seed=3", "corpus.documents=text")
    with pytest.raises(UserError, match=r"there is no index text\.idx"):
        find_corpus(OmegaConf.to_object(config).corpus)


def test_a_value_that_must_be_set_is_named():
    with pytest.raises(UserError, match=r"corpus\.documents must be set"):
        configure(["model=160m", "corpus=pile_seed"])


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way_and_config_ends_at_run(package):
    allowed = {"foundation", package}
    for path in set((ROOT / package).rglob("*.py")) - COMMANDS:
        found = set(imports_of(path))
        assert not found & (set(PACKAGES) - allowed), path
        assert not found & {"hydra", "omegaconf", "run", "conf"}, path


def test_nothing_imports_the_commands_in_tools():
    for path in [
        ROOT / "run.py",
        *(file for package in (*PACKAGES, "conf", "perf") for file in (ROOT / package).rglob("*.py")),
    ]:
        assert "tools" not in set(imports_of(path)), path


def test_the_values_of_a_run_are_told_before_there_is_one():
    script = [sys.executable, "run.py", "--cfg", "job", "--resolve"]
    told = subprocess.run(script, cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "output_dir: null" in told.stdout


def test_what_only_a_suite_of_the_kit_has_is_refused_for_pythia_with_the_way_to_its_command() -> None:
    with pytest.raises(
        UserError, match=r"model.pretraining.seed cannot be set: .*/NAME.yaml has the command for Pythia"
    ):
        configure(["model=410m", "model.pretraining.seed=1"])

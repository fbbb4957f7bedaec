import ast
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import run

ROOT = Path(__file__).parent.parent
PACKAGES = ["corpus", "eval", "foundation", "interventions", "reports", "training"]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))


def composed(*overrides):
    with initialize_config_dir(version_base="1.3", config_dir=str(run.CONF)):
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


def test_an_experiment_wins_over_the_defaults():
    assert (composed().step, composed("experiment=smoke").step) == (448, 6)


def test_the_arms_are_trained_by_the_suites_recipe_unless_told_otherwise():
    config = OmegaConf.to_object(composed("training.lr=1e-3"))
    assert config.training.lr == 1e-3
    assert config.model.recipe.lr == 3e-3
    assert config.training.sequences_per_step == config.model.recipe.sequences_per_step


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way_and_config_ends_at_run(package):
    allowed = {"foundation", package}
    for path in (ROOT / package).glob("*.py"):
        found = set(imports_of(path))
        assert not found & (set(PACKAGES) - allowed), path
        assert not found & {"hydra", "omegaconf", "run", "conf"}, path

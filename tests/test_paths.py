"""Paths with any characters, as they stand on a command line and in configuration files."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from conf.arguments import check_arguments
from conf.compose import configure
from conf.inputs import _inputs
from conf.paths import names_a_path, quote_paths
from conf.study import StudyCallback
from foundation import UserError

PATHS = [
    *("/data/é", "/data/中文/模型", "/data/😀", "/ü/~x", "é,中", "/a b/c", " a ", "a  b", "/a\tb"),
    *("/a#b", "/a&b", "/a!b", "/a'b", '/a"b', "it's", "'half", 'half"', "/a,b", "/a=b", "/a;b", "/a`b`", "/a^b", "<a>"),
    *("/[1]", "/a[1]", "{x}", "a(b)", "glob(*)", "choice(a,b)", "/a\\b", "a\\", "5", "1e5", "true", "yes", "-"),
    *("/a$b", "@a", "%a", "a:b", "a|b"),
]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
SIGNS = st.text("\\'\",[]{}()=~#&!; \té", min_size=1, max_size=8)


def read(argument):
    """What Hydra reads a setting as."""
    return OverridesParser.create().parse_override(argument).value()


def is_ours_to_quote(path):
    """Whether a path is nothing else to those who know Hydra's grammar."""
    quoted = len(path) > 1 and path[0] == path[-1] and path[0] in "'\""
    return not (quoted or "\\" in path or "${" in path or path.strip().lower() == "null" or path.startswith("~"))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["model.checkpoints", "hydra.run.dir", "+corpus.maps"])
def test_a_path_is_what_was_written(name, path):
    (argument,) = quote_paths([f"{name}={path}"])
    assert read(argument) == path
    assert quote_paths([argument]) == [argument]
    check_arguments([argument])


@settings(max_examples=300, deadline=None)
@given(path=(ANY_TEXT | SIGNS).filter(is_ours_to_quote))
def test_any_path_is_what_was_written(path):
    (argument,) = quote_paths([f"model.checkpoints={path}"])
    assert read(argument) == path


@settings(max_examples=100, deadline=None)
@given(value=(ANY_TEXT | SIGNS))
@example('it\'s, "so" = [1')
def test_any_other_value_that_cannot_be_read_is_told_as_text_that_can_be(value):
    argument = f"model.name={value}"
    try:
        check_arguments([argument])
    except UserError as error:
        told = str(error)
        assert "mend it, or, if all behind the = is text, write " in told
        (written,) = shlex.split(told.rpartition("text, write ")[2])
        assert read(written) == value


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ("'/a b'", "/a b"),
        ('"/a,b"', "/a,b"),
        ("/a\\,b", "/a,b"),
        ("null", None),
        ("", ""),
        ("/a/${now:%Y}/é", "/a/${now:%Y}/é"),
    ],
)
def test_who_knows_hydras_quotes_may_write_them(given_, kept):
    (argument,) = quote_paths([f"model.checkpoints={given_}"])
    assert read(argument) == kept


def test_what_needs_no_quotes_stays_as_it_was_written():
    plain = [
        "-m",
        "model=70m",
        "model.checkpoints=/a/b.c-d_e",
        "steps=1,2",
        "intervention.fraction=.5",
        "~corpus.revision",
    ]
    assert quote_paths(plain) == plain


@pytest.mark.parametrize(
    ("value", "paths"),
    [("/a,/b", ["/a", "/b"]), ("/é,/b c", ["/é", "/b c"]), ("'/a,b',/ü", ["/a,b", "/ü"]), ("/a'b,/c", ["/a'b", "/c"])],
)
def test_in_a_sweep_a_comma_parts_paths(value, paths):
    _, argument = quote_paths(["-m", f"model.checkpoints={value}"])
    assert [str(getattr(each, "text", each)) for each in read(argument).list] == paths


def test_without_a_sweep_two_paths_that_are_there_are_no_path_with_a_comma(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert quote_paths(["model.checkpoints=a,b"]) == ["model.checkpoints=a,b"]
    with pytest.raises(UserError, match=r"with python run.py -m, each value is a run"):
        configure(["model=70m", "model.checkpoints=a,b"])
    (tmp_path / "a,b").mkdir()
    assert quote_paths(["model.checkpoints=a,b"]) == ["model.checkpoints='a,b'"]


@pytest.mark.parametrize("written", ["~/runs/one", "'~/runs/one'", '"~/runs/one"'])
@pytest.mark.parametrize("name", ["hydra.run.dir", "hydra.sweep.dir", "corpus.text", "benchmarks.crows_pairs.path"])
def test_a_tilde_is_the_home_directory(monkeypatch, name, written):
    monkeypatch.setenv("HOME", "/home/it's é")
    (argument,) = quote_paths([f"{name}={written}"])
    assert read(argument) == "/home/it's é/runs/one"


def test_a_tilde_in_a_configuration_file_is_the_home_directory_too(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PLACE", "~/suite")
    assert configure(["model=70m", "model.checkpoints=${oc.env:PLACE}"]).model.checkpoints == "/home/me/suite"


@pytest.mark.parametrize("written", ["~nobody-of-this-name/x", "~nobody-of-this-name"])
def test_a_tilde_without_a_home_directory_is_told_and_the_remedy_works(written):
    with pytest.raises(UserError, match=r"no home directory ~nobody-of-this-name; .* or \./~nobody") as refused:
        quote_paths([f"model.checkpoints={written}"])
    own = str(refused.value).rpartition("path, or ")[2].partition(" if")[0]
    (argument,) = quote_paths([f"model.checkpoints={own}"])
    assert read(argument) == f"./{written}"


@pytest.mark.parametrize("name", ["hydra.run.dir", "model.checkpoints"])
def test_a_path_that_is_not_utf8_is_refused_in_words_that_can_be_printed(name):
    with pytest.raises(UserError, match=r"=/a/\? is not UTF-8, .* a link to it") as refused:
        quote_paths([f"{name}=/a/\udce9"])
    str(refused.value).encode()


@pytest.mark.parametrize("corpus", [["corpus=pile_seed", "corpus.documents=x"], ["corpus=local", "corpus.location=x"]])
def test_every_setting_that_may_name_a_place_on_this_machine_counts_as_a_path(tmp_path, corpus):
    (tmp_path / "place").write_text("{}")
    config = configure(["model=70m", *corpus])
    places = {name for name, value in config.corpus.items() if value is None or value == "x"} - {"revision", "num_rows"}
    for name in places:
        config.corpus[name] = str(tmp_path / "place")
    for options in config.benchmarks.values():
        options["path"] = str(tmp_path / "place")
    config.model.tokenizer = str(tmp_path / "place")
    found = {name for name, files in _inputs(config) if files}
    assert len(found) == len(places) + len(config.benchmarks) + 1
    assert all(names_a_path(name) for name in found)


@pytest.mark.parametrize("name", ["model.checkpoints", "audit.checkpoints", "corpus.text", "hydra.sweep.dir"])
def test_settings_of_paths_may_have_hydras_signs_before_them(name):
    assert names_a_path(name) and names_a_path(f"+{name}") and names_a_path(f"++{name}")


@pytest.mark.parametrize(
    ("start", "section"), [(StudyCallback.on_run_start, "run"), (StudyCallback.on_multirun_start, "sweep")]
)
def test_a_tilde_in_a_configuration_file_makes_no_directory_of_that_name(tmp_path, monkeypatch, start, section):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = {"hydra": {section: {"dir": "~/one"}}}
    with pytest.raises(SystemExit, match=rf"error: hydra.{section}.dir=~/one .*; write \$\{{oc.env:HOME\}}/one there"):
        start(StudyCallback(), OmegaConf.create(config))
    config["hydra"][section]["dir"] = "${oc.env:HOME}/one"
    start(StudyCallback(), OmegaConf.create(config))

"""What is downloaded or given by others is data: it runs nothing, changes no page, and secrets go into no file."""

import ast
import json
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conf.arguments import check_arguments
from conf.compose import configure
from corpus.tokenizer import open_tokenizer
from foundation import SecretsHidden, UserError, check_no_secrets, one_line, without_secrets
from interventions.her.corpus_reader import CorpusReader
from interventions.vocabulary import read_vocabulary
from reports import open_record, write_study
from reports.figures import canvas, panel, plain_name, style, to_svg
from reports.html import write_report
from sample_corpus import sample_rows, word_tokenizer
from test_checkpoint import save
from test_collect import finished
from test_html import Page
from training import load_checkpoint
from training.token_losses import TokenLosses
from training.weights import load_weights

ROOT = Path(__file__).parent.parent
CODE = sorted(path for path in ROOT.rglob("*.py") if path.parts[len(ROOT.parts)] != "tests")
HOSTILE = "\"'></svg></style></title><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}$\\bad_{$&"
TOKEN = "hf_" + "aB3" * 12


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}


# a call whose name ends so needs this keyword with this value
NEEDED = {
    "torch.load": ("weights_only", "True"),
    "np.load": ("allow_pickle", "False"),
    "AutoTokenizer.from_pretrained": ("trust_remote_code", "False"),
    "AutoConfig.from_pretrained": ("trust_remote_code", "False"),
    "AutoModelForCausalLM.from_pretrained": ("trust_remote_code", "False"),
}
FORBIDDEN = {
    *("eval", "exec", "compile", "os.system", "os.popen", "os.execv", "importlib.reload"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "shelve.open", "joblib.load", "dill.load"),
    *("pd.read_pickle", "yaml.load", "yaml.unsafe_load", "hydra.utils.instantiate", "hydra.utils.call"),
    *("shutil.unpack_archive", "jinja2.Template", "jinja2.Environment"),
}
ALLOWED = {
    ("foundation/pages.py", "jinja2.Environment"),  # where everything is escaped
    ("perf/mutants.py", "compile"),  # of the kit's own code, with one fault in it
    ("perf/mutants.py", "exec"),
}


def test_no_code_of_the_kit_loads_pickles_runs_text_or_unpacks_archives():
    assert len(CODE) > 150
    for path in CODE:
        name = path.relative_to(ROOT).as_posix()
        for called, keywords in calls(ast.parse(path.read_text("utf-8"))):
            last = called.rpartition(".")[2]
            forbidden = called in FORBIDDEN or last in ("extract", "extractall", "from_string")
            assert not forbidden or (name, called) in ALLOWED, f"{name} calls {called}"
            assert keywords.get("shell", "False") == "False", f"{name} calls a shell"
            assert keywords.get("trust_remote_code", "False") == "False", f"{name} trusts code"
            if called in NEEDED:
                keyword, value = NEEDED[called]
                assert keywords.get(keyword) == value, f"{name} calls {called} without {keyword}={value}"


def test_everything_in_a_page_is_escaped_unless_it_is_the_kits_own():
    for path in ROOT.rglob("*.jinja"):
        assert "|safe" not in path.read_text("utf-8").replace(" ", ""), path
        assert "autoescape" not in path.read_text("utf-8"), path
    marked = {}
    for path in CODE:
        found = [keyword for called, keyword in calls(ast.parse(path.read_text("utf-8"))) if called == "Markup"]
        if found:
            marked[path.relative_to(ROOT).as_posix()] = len(found)
    # style sheets of the kit, and figures as `to_svg` makes them
    assert marked == {"interventions/preview/page.py": 1, "reports/html.py": 2, "reports/study_page.py": 3}


@pytest.fixture
def carrier(tmp_path, tiny_tokenizer):
    """A tokenizer's directory that brings code of its own, and the file that this code would leave."""
    left = tmp_path / "was-here"
    tiny_tokenizer.save_pretrained(tmp_path / "carrier")
    (tmp_path / "carrier" / "own.py").write_text(f"open({str(left)!r}, 'w')\nclass Own: pass\n")
    config = {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}, "tokenizer_class": "Own"}
    (tmp_path / "carrier" / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path / "carrier", left


def test_code_beside_a_tokenizer_is_not_run_whatever_is_answered(carrier, monkeypatch, tiny_model):
    directory, left = carrier
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(UserError, match="contains custom code") as refused:
        open_tokenizer(str(directory))
    assert "\n" not in str(refused.value)
    tiny_model.save_pretrained(directory / "step5")
    with pytest.raises(UserError, match="contains custom code"):
        load_checkpoint(directory, step=5, tokenizer=str(directory))
    assert not left.exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attn_implementation", "someone/kernel"),
        ("_attn_implementation", "someone/kernel"),
        ("quantization_config", {"quant_method": "gptq", "bits": 4}),
        ("transformers_weights", "../elsewhere.safetensors"),
        ("auto_map", {"AutoModelForCausalLM": "own.Own"}),
    ],
)
def test_a_configuration_that_asks_for_other_code_or_files_is_refused(
    tmp_path, tiny_model, tiny_tokenizer, key, value, monkeypatch
):
    tiny_model.save_pretrained(tmp_path / "model")
    edited = json.loads((tmp_path / "model" / "config.json").read_text()) | {key: value}
    (tmp_path / "model" / "config.json").write_text(json.dumps(edited))
    with pytest.raises(UserError, match=f"config.json sets {key}, which can make transformers run code .* refused"):
        load_weights(tmp_path / "model")
    monkeypatch.setattr("training.checkpoint._check_files", lambda *_: None)  # as if its hashes were made to fit
    save(tmp_path, 5, tiny_model, tiny_tokenizer)
    (tmp_path / "step5" / "config.json").write_text(json.dumps(edited))
    with pytest.raises(UserError, match=f"config.json sets {key}"):
        load_checkpoint(tmp_path, step=5)


def test_weights_of_a_checkpoint_of_the_kit_are_never_a_pickle(tmp_path, tiny_model, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr("training.checkpoint._check_files", lambda *_: None)
    save(tmp_path, 5, tiny_model, tiny_tokenizer)
    (tmp_path / "step5" / "model.safetensors").unlink()
    torch.save(tiny_model.state_dict(), tmp_path / "step5" / "pytorch_model.bin")
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        load_checkpoint(tmp_path, step=5)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/x.safetensors", "a/../../x.safetensors", "a/x.safetensors"])
def test_an_index_that_names_files_elsewhere_is_refused(tmp_path, tiny_model, name):
    tiny_model.save_pretrained(tmp_path, max_shard_size="40KB")
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"][next(iter(content["weight_map"]))] = name
    index.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is no index of shards, or is damaged"):
        load_weights(tmp_path)


class Evaluates:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_arrays_of_objects_are_never_unpickled(tmp_path):
    objects = np.array([Evaluates(tmp_path / "was-here")], object)
    losses = TokenLosses(tmp_path, start=0, every=1)
    np.save(tmp_path / "step0.npy", objects)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        losses.by_group(0, np.zeros((1, 3), np.uint8))
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize("damage", ["objects", "cut", "empty", "flipped", "text"])
def test_what_was_learned_of_her_is_learned_again_where_the_cache_is_damaged(tmp_path, monkeypatch, caplog, damage):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tokenizer = word_tokenizer()
    learn = {"tokenizer": tokenizer, "vocabulary": read_vocabulary(tokenizer)}
    whole = CorpusReader.fitted(sample_rows(tokenizer), **learn)
    (stored,) = tmp_path.rglob("*.npz")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "objects":
        evil = np.array([Evaluates(tmp_path / "was-here")], object)
        np.savez(stored, weights=evil, company=evil, facts=evil)
    else:
        parts = {"cut": content[:-99], "empty": b"", "flipped": content, "text": b"no archive"}
        stored.write_bytes(parts[damage])
    again = CorpusReader.fitted(sample_rows(tokenizer), **learn)
    assert "is damaged" in caplog.text
    assert np.array_equal(again.weights, whole.weights)
    assert not (tmp_path / "was-here").exists()


def make_hostile(run):
    """Put hostile text behind every text that a run directory holds, but for the words that the kit itself reads."""
    read_by_the_kit = {"status", "protocol", "control", "started_at", "finished_at", "expects", "state"}

    def changed(value, key=""):
        if isinstance(value, dict):
            return {name: changed(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [changed(each, key) for each in value]
        return value + HOSTILE if isinstance(value, str) and key not in read_by_the_kit else value

    content = changed(json.loads((run / "run.json").read_text("utf-8")))
    (run / "run.json").write_text(json.dumps(content), "utf-8")
    summary = pd.read_csv(run / "summary.csv")
    checked = (summary["benchmark"] == "pronoun_prior") & (summary["metric"] == "share_she")
    for column in ("benchmark", "metric", "description"):
        summary[column] = summary[column].where(checked, summary[column] + HOSTILE)
    summary.to_csv(run / "summary.csv", index=False)
    tables = {run / "swaps.parquet": ["form", "replacement"]}
    tables |= {path: ["occupation", "template"] for path in run.rglob("occupations.parquet")}
    for path, columns in tables.items():
        table = pd.read_parquet(path)
        table[columns] += HOSTILE
        table.to_parquet(path, index=False)


@pytest.mark.parametrize("write", [write_report, lambda run: write_study(run.parent)])
def test_hostile_text_in_every_file_of_a_run_changes_no_page(tmp_path, write):
    run = finished(tmp_path / "study" / f"a{HOSTILE.replace('/', '')}", optional=True)
    make_hostile(run)
    page = Page(write(run).read_text("utf-8"))
    assert page.unclosed == []
    assert not {"script", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 10
    assert "{{7*7}}" in page.text
    written = [path for path in tmp_path.rglob("*") if path.is_file() and run not in path.parents]
    assert {path.parent.relative_to(tmp_path / "study").as_posix() for path in written} <= {".", "figures", "tables"}


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), min_size=1, max_size=20))
def test_any_text_is_drawn_as_it_stands(text):
    text = f"{text}<b>$"
    with style():
        figure = canvas(100)
        axes = panel(figure, top=20, height=50)
        axes.plot([0, 1], [0, 1], label=text)
        axes.set_title(text)
    page = Page(to_svg(figure, prefix=text, label=text))
    assert page.unclosed == []
    assert not page.tags("b")
    assert page.tags("svg")[0]["aria-label"] == text
    assert "/" not in plain_name(text)


SECRETS = [
    ("corpus.location", "https://someone:pass-word@mirror.example/rows.bin"),
    ("hydra.run.dir", "sftp://someone@host.example/run"),
    ("model.checkpoints", f"hf://OWNER/{TOKEN}"),
    ("hydra.job.env_set.HF_TOKEN", "a-token-of-some-kind"),
    ("+hydra.job.env_set.WANDB_API_KEY", "0123456789abcdef"),
    ("model.tokenizer", "known-to-the-environment"),
    ("+secret", "of mine"),
]


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "known-to-the-environment")
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("name", "value"), SECRETS)
def test_a_setting_that_holds_a_secret_is_refused_without_telling_it(name, value):
    for check in (check_arguments, configure):
        with pytest.raises(UserError, match=r"=\.\.\. holds a password or token, which run.json would keep") as refused:
            check(["model=demo", f"{name}={value}"])
        assert value not in one_line(refused.value)


@pytest.mark.usefixtures("environment")
def test_a_secret_in_a_configuration_file_is_refused_too():
    with pytest.raises(UserError, match=r"model.tokenizer=\.\.\. holds a password or token"):
        configure(["model=demo", "model.tokenizer=known-to-${oc.env:NOWHERE,the-environment}"])


def test_ordinary_settings_hold_no_secret():
    ordinary = {
        "corpus.row_tokens": "65",
        "corpus.location": "hf://datasets/EleutherAI/pile@main/rows.bin",
        "corpus.revision": "0" * 40,
        "model.tokenizer": "/home/me@work/tokenizer.json",
        "hydra.run.dir": "runs/a@b",
        "token": "",
    }
    check_no_secrets(ordinary.items())
    address = "see https://example.org/a@b, https://example.org:80 and mail a@b.example"
    assert without_secrets(address) == address


@pytest.mark.usefixtures("environment")
def test_what_libraries_say_is_logged_kept_and_told_without_secrets(tmp_path, capsys):
    said = f"GET https://me:{'x' * 9}@hub.example/a?b with {TOKEN} and {'f' * 40} and known-to-the-environment failed"
    clean = "GET https://***@hub.example/a?b with *** and *** and *** failed"
    assert one_line(UserError(said)) == f"error: {clean}"
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(SecretsHidden("%(message)s"))
    handler.handle(logging.LogRecord("a", logging.INFO, "a.py", 1, "%s", (said,), None))
    assert capsys.readouterr().out == f"{clean}\n"
    provenance = {"git": {}, "packages": {}, "hardware": {}}
    with open_record(tmp_path, config={}, identity={}, command="python run.py", provenance=provenance) as record:
        record.update(caveats=[said])
    assert json.loads((tmp_path / "run.json").read_text())["caveats"] == [clean]


def test_the_logs_of_runs_and_commands_hide_secrets():
    text = (ROOT / "conf" / "config.yaml").read_text("utf-8")
    assert "(): foundation.SecretsHidden" in text

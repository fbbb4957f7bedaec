"""The preview of an intervention: its words in the terminal, its page, the command, and what it refuses."""

import html
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
from rich.console import Console

from conftest import invented_sentences
from corpus import build_corpus
from corpus.tokenizer import open_tokenizer
from corpus.view import visible
from foundation import mistakes_in_one_line
from interventions import OUTCOMES, Ledger, fact_sentences, load_intervention
from interventions.preview import __main__ as preview
from interventions.preview.page import render
from interventions.preview.samples import draw_samples, kinds_of
from interventions.preview.text import Preview, show
from test_samples import applied, decode, rows_of

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
HOSTILE = "The baker said <script>alert('him')</script> & he\x1b[31m left; \x00 it is his."


def test_measured_facts_become_sentences():
    accuracy = {"examples": 5000, "n": 400, "accuracy": 0.972, "ci_low": 0.951, "ci_high": 0.984, "always_his": 0.8}
    (sentence,) = fact_sentences({"her": {"method": "corpus", **accuracy}})
    for number in ("5,000", "400", "97.2", "95.1 to 98.4", "80.0"):
        assert number in sentence
    assert "not measured" in fact_sentences({"her": {"method": "corpus"}})[0]
    assert "the start’s own model" in fact_sentences({"her": {"method": "language model"}})[0]
    assert ["41.0" in each for each in fact_sentences({"rate": 0.41})] == [True]
    assert len(fact_sentences({"rate": 1})) == 2
    assert "33.3" in fact_sentences({"coverage": 1 / 3})[0]
    assert fact_sentences({}) == []


def preview_of(name, rows, **options):
    intervened, ledger = applied(name, rows, **options)
    samples = draw_samples(rows, intervened, ledger, lambda ids: visible(decode(ids)), first_row=70, count=3)
    return Preview(
        command="python -m interventions.preview step=<b>7</b>",
        model="<i>demo</i>",
        step=7,
        corpus="/a/corpus",
        first_row=70,
        stop_row=70 + len(rows),
        sha256="ab" * 32,
        intervention=name,
        sentence="he → she",
        identity="cd" * 32,
        facts=("A fact.",),
        rows=len(rows),
        tokens=rows.size,
        changed_rows=int((rows != intervened).any(axis=1).sum()),
        changed_tokens=int((rows != intervened).sum()),
        unlearned_tokens=0 if ledger.unlearned is None else int(ledger.unlearned.sum()),
        counts=ledger.counts,
        kinds=tuple(kinds_of(name, ledger.counts, samples)),
    )


def shown(found, *, colours=None, width=200):
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=colours, force_terminal=colours is not None)
    show(found, console=console)
    return file.getvalue()


def test_without_colours_changes_are_marked_in_ascii():
    text = shown(preview_of("masculine_to_feminine", rows_of("The he-man gave him\nhis ladder.")))
    assert text.isascii()
    assert r"[row begins] The he-man gave [-him-]{+her+}\n[-his-]{+her+} ladder. [row ends]" in text
    assert "The [[he]]-man" in text
    assert "1 left, compound: joined by a hyphen or brackets to other letters" in text
    assert "__hers__" in shown(preview_of("drop", rows_of("The ladder is hers.")))


def test_a_terminal_gets_colours_and_no_marks():
    text = shown(preview_of("masculine_to_feminine", rows_of("The baker gave him a ladder.")), colours="standard")
    assert "\x1b[9;31mhim\x1b[0m" in text
    assert "\x1b[1;32m her\x1b[0m" in text
    assert "[-" not in text


def test_text_that_looks_like_markup_is_shown_as_it_is():
    assert "[bold][-he-]{+she+}[/bold]" in shown(preview_of("swap", rows_of("[bold]he[/bold]")))


def test_the_counts_of_many_forms_are_shortened_in_the_terminal_and_whole_on_the_page():
    found = preview_of("swap", rows_of("he"))
    forms = [f"form{index:02}" for index in range(30)]
    numbers = dict.fromkeys(["occurrences", "swapped", *OUTCOMES[1:]], 2)
    found = replace(found, counts=pd.DataFrame([{"form": form, "replacement": "x", **numbers} for form in forms]))
    text = shown(found)
    assert "form15" in text
    assert "form16" not in text
    assert re.search(r"14 others +28 +28", text)
    assert all(form in render(found) for form in forms)


class Page(HTMLParser):
    """Elements, and text by the element that holds it."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.cells = [], [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1].append(data)


def test_the_page_needs_nothing_but_itself_and_escapes_what_it_shows():
    text = render(preview_of("masculine_to_feminine", rows_of(HOSTILE, "The he-man is late")))
    page = Page(text)
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.tags}
    assert not {"src", "href", "onload"} & {name for _, attributes in page.tags for name in attributes}
    assert "default-src 'none'" in str(page.tags)
    assert "&lt;script&gt;alert" in text
    assert "<b>7</b>" not in text
    assert "<i>demo</i>" not in text
    assert not set(text) & {"\x1b", "\x00"}


def test_the_page_marks_old_and_new_words_and_names_what_it_is_of():
    page = Page(render(preview_of("masculine_to_feminine", rows_of("x He gave him the he-man"))))
    assert {*page.texts["del"]} == {"He", "him"}
    assert {*page.texts["ins"]} == {"She", "her"}
    assert page.texts["mark"] == [" ", " ", "he"]
    assert "cd" * 32 in page.texts["dd"]
    assert "python -m interventions.preview step=<b>7</b>" in page.texts["code"]
    assert "<i>demo</i>, step 7: masculine_to_feminine, a preview" in page.texts["title"]


def test_the_same_preview_gives_the_same_page():
    rows = rows_of(" He gave him the he-man")
    assert render(preview_of("swap", rows)) == render(preview_of("swap", rows))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def smoke(tmp_path, cache, monkeypatch):
    """The arguments of a run on a small corpus of invented sentences; the current directory is an empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    (tmp_path / "text.txt").write_text("\n".join(invented_sentences()))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return ["experiment=smoke", f"corpus.text={tmp_path / 'text.txt'}", "step=6"]


@pytest.fixture
def expected(smoke):
    """The batch's rows, and the ledger of masculine_to_feminine."""
    corpus = build_corpus(smoke[1].partition("=")[2], vocab_size=384, row_tokens=65, seed=1234)
    tokenizer = open_tokenizer(str(corpus.tokenizer))
    intervention = load_intervention("masculine_to_feminine", tokenizer=tokenizer)
    return intervention.identity, intervention(corpus.rows(48, 56), first_row=48)[1]


def test_the_command_prints_and_writes_what_the_arm_would_do(smoke, expected, tmp_path, capsys):
    identity, ledger = expected
    assert isinstance(ledger, Ledger)
    preview.main([*smoke, "intervention=masculine_to_feminine", "positions=words.parquet"])
    printed = capsys.readouterr().out
    counts = ledger.counts
    assert printed.startswith("masculine_to_feminine, step 6 of demo: rows 48 to 55 of the corpus\n")
    assert "Masculine pronouns became feminine: he -> she" in printed
    assert f"{counts['occurrences'].sum()} words found, {counts['swapped'].sum()} swapped" in printed
    assert " tokens of 520 changed (" in printed
    pd.testing.assert_frame_equal(pd.read_parquet("words.parquet"), ledger.occurrences(first_row=48), check_dtype=False)
    text = (tmp_path / "here" / "intervention_preview.html").read_text("utf-8")
    assert identity in text
    rows = {tuple(cells[:2]): [int(cell.replace(",", "")) for cell in cells[2:]] for cells in Page(text).cells[1:-1]}
    for line in counts.to_dict("records"):
        assert rows[line["form"], line["replacement"]][:2] == [line["occurrences"], line["swapped"]]
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"words.parquet", "intervention_preview.html"}


def test_some_rows_can_be_named_and_the_page_left_out(smoke, expected, tmp_path, capsys):
    _, ledger = expected
    preview.main([*smoke, "rows=3:5", "html=none", "samples=1", "positions=words.parquet"])
    assert "rows 51 to 52 of the corpus" in capsys.readouterr().out
    words = ledger.occurrences(first_row=48)
    assert len(pd.read_parquet("words.parquet")) == words["row"].isin([51, 52]).sum()
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["words.parquet"]


def test_control_characters_of_the_corpus_are_shown_as_pictures(smoke, tmp_path, capsys):
    text = "\n".join(f"{sentence} \x1b[31m\x00" for sentence in invented_sentences())
    (tmp_path / "text.txt").write_text(text)
    preview.main(smoke)
    for shown_text in (capsys.readouterr().out, (tmp_path / "here" / "intervention_preview.html").read_text("utf-8")):
        assert not set(shown_text) & {"\x1b", "\x00"}
        assert "␛[31m␀" in shown_text


@pytest.mark.parametrize("name", ["none", "drop", "balance", "shuffled"])
def test_every_kind_of_arm_has_a_preview(smoke, name, capsys):
    sentences = {
        "none": "No word was looked for; all 520 tokens are as before.",
        "drop": "No token is another than before.",
        "balance": "left, not drawn: the dose, a coin or the shuffle did not choose it",
        "shuffled": "Which her is him and which is his was learned from",
    }
    preview.main([*smoke, f"intervention={name}", "html=none"])
    assert sentences[name] in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_previewed_is_refused_in_one_line(smoke, tmp_path):
    def refusal(*arguments):
        with pytest.raises(SystemExit) as exit_, mistakes_in_one_line():
            preview.main([*smoke, *arguments])
        message = str(exit_.value.code)
        assert message.startswith("error: ")
        assert "\n" not in message
        return message

    assert "are no sequences of a step: they are numbered from 0 to 7" in refusal("rows=8:9")
    assert "take 1 or more" in refusal("samples=0")
    assert "did you mean samples=?" in refusal("sampels=3")
    assert "nothere" in refusal("nothere=3")
    assert "a directory that exists and can be written, or html=none" in refusal(f"html={tmp_path / 'new' / 'x.html'}")
    assert "html=. cannot be written" in refusal("html=.")
    assert "take a name that ends in .parquet" in refusal("positions=words.csv")
    assert "did you mean swap?" in refusal("intervention=swop")
    assert "leave it out here" in refusal("intervention=swap", "intervention.her=language_model")
    assert "give its steps= too" in refusal("intervention.stop=3")
    assert list((tmp_path / "here").iterdir()) == []


def test_an_arm_that_stops_within_the_run_is_previewed_with_the_length_of_the_run(smoke, capsys):
    preview.main([*smoke, "steps=6", "intervention.stop=0", "html=none"])
    assert " 0 swapped (0.0 %)" in capsys.readouterr().out.replace("\u00a0", " ")


def test_the_help_fits_eighty_columns_and_names_every_option():
    assert max(map(len, preview.__doc__.splitlines())) <= 80
    assert all(f"{option}=" in preview.__doc__ for option in preview.OWN)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH")
def test_the_page_never_scrolls_sideways(tmp_path):
    rows = rows_of("he <|endoftext|>" + "x" * 300 + " gave him the he-man " + "<|endoftext|>" * 9, "he or she")
    page = html.escape(render(preview_of("masculine_to_feminine", rows)))
    widths = [360, 1280]
    frames = "".join(f'<iframe style="width:{width}px;border:0" srcdoc="{page}"></iframe>' for width in widths)
    script = (
        "onload = () => document.title = [...document.querySelectorAll('iframe')].map(frame => "
        "frame.contentDocument.documentElement.scrollWidth - frame.contentDocument.documentElement.clientWidth)"
    )
    (tmp_path / "frames.html").write_text(f"<!DOCTYPE html><title></title>{frames}<script>{script}</script>", "utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", "--no-first-run", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "frames.html").as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    measured = re.search(r"<title>(.*?)</title>", done.stdout)[1]
    assert measured == "0,0"

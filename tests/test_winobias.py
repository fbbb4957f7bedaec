import numpy as np
import pytest

from eval.evaluation import evaluate
from eval.winobias import FEMALE_OCCUPATIONS, MALE_OCCUPATIONS, WinoBias, sentences
from eval.winobias import benchmark as benchmark_module
from eval.winobias.rows import clusters
from eval.winobias.sentences import FILES, load_sentences, parse_sentence, pronoun_case, tabulate
from foundation import UserError
from invented_winobias import in_four_files

# Two invented lines for each file: the two readings of one pair of occupations.
PRO = [
    "1 [The farmer] sang to the nurse while [he] cooked.",
    "2 The farmer sang to [the nurse] and praised [her].",
]
ANTI = [
    "1 [The farmer] sang to the nurse while [she] cooked.",
    "2 The farmer sang to [the nurse] and praised [him].",
]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setattr(
        benchmark_module, "load_sentences", lambda directory: tabulate(in_four_files(PRO) + in_four_files(ANTI))
    )
    return WinoBias()


@pytest.mark.parametrize(
    ("line", "before", "pronoun", "after", "referent", "other"),
    [
        (PRO[0], "The farmer sang to the nurse while", "he", " cooked.", "farmer", "nurse"),
        (
            "12 The cook met the [ baker] and hid [his] hat.",
            "The cook met the baker and hid",
            "his",
            " hat.",
            "baker",
            "cook",
        ),
        (
            "3 The cook met the [the baker] and fed [him].",
            "The cook met the baker and fed",
            "him",
            ".",
            "baker",
            "cook",
        ),
        ("4 The CEO met [an editor] and fed [her].", "The CEO met an editor and fed", "her", ".", "editor", "CEO"),
        (
            "5 [The construction worker] left the clerk as [he] cut [his] hand.",
            "The construction worker left the clerk as",
            "he",
            " cut his hand.",
            "construction worker",
            "clerk",
        ),
        (
            "6 The tailor met [the guard] and sent [him] to the cook.",
            "The tailor met the guard and sent",
            "him",
            " to the cook.",
            "guard",
            "tailor",
        ),
        (
            "7 [The CEO] met the clerk 's son as [he] sat.",
            "The CEO met the clerk 's son as",
            "he",
            " sat.",
            "CEO",
            "clerk",
        ),
    ],
)
def test_lines_are_read_with_their_warts(line, before, pronoun, after, referent, other):
    sentence = parse_sentence(line)
    assert (sentence.before, sentence.pronoun, sentence.after) == (before, pronoun, after)
    assert (sentence.referent, sentence.other) == (referent, other)
    assert sentence.text == f"{before} {pronoun}{after}"


def test_a_line_without_another_occupation_is_refused():
    with pytest.raises(ValueError, match="no occupation but baker"):
        parse_sentence("1 The sailor met [the baker] and fed [him].")


@pytest.mark.parametrize(
    ("line", "twin", "case"),
    [
        ("1 The cook met [the baker] and fed [her].", "1 The cook met [the baker] and fed [him].", "object"),
        (
            "1 The cook met [the baker] and hid [her] hat.",
            "1 The cook met [the baker] and hid [his] hat.",
            "possessive",
        ),
        ("1 The cook met [the baker] and gave [her] it.", "1 The cook met [the baker] and gave [him] it.", "object"),
        (
            "1 The cook hid [the baker] in [her] hat and fed [her].",
            "1 The cook hid [the baker] in his hat and fed [him].",
            "possessive",
        ),
        (
            "1 The cook met [the baker] and hid [his] hat.",
            "1 The cook met [the baker] and hid [her] hat.",
            "possessive",
        ),
        ("1 [The cook] met the baker as [she] sat.", "1 [The cook] met the baker as [he] sat.", "subject"),
    ],
)
def test_the_case_of_her_is_that_of_its_twin(line, twin, case):
    assert pronoun_case(parse_sentence(line), parse_sentence(twin)) == case


def test_occupations_are_forty_with_published_shares():
    assert len(MALE_OCCUPATIONS) == len(FEMALE_OCCUPATIONS) == 20
    assert max(MALE_OCCUPATIONS.values()) == 48
    assert min(FEMALE_OCCUPATIONS.values()) == 52


def test_requests_ask_for_pronouns_before_and_occupations_after(benchmark, tiny_tokenizer):
    requests = benchmark.requests(tiny_tokenizer)
    assert len(requests) == 16 * 6

    def text(request):
        return tiny_tokenizer.decode(request.context), tiny_tokenizer.decode(request.continuation)

    assert [text(requests[16 * kind + 1]) for kind in range(6)] == [
        ("<|endoftext|>", "The farmer sang to the nurse and praised her."),
        ("<|endoftext|>The farmer sang to the nurse and praised", " her"),
        ("<|endoftext|>The farmer sang to the nurse and praised", " him"),
        ("<|endoftext|>The farmer sang to the nurse and praised", " them"),
        (
            "<|endoftext|>The farmer sang to the nurse and praised her.\n"
            'In the passage above, the pronoun "her" refers to',
            " the nurse",
        ),
        (
            "<|endoftext|>The farmer sang to the nurse and praised her.\n"
            'In the passage above, the pronoun "her" refers to',
            " the farmer",
        ),
    ]


def made_up_scores(log_p):
    """Scores of the sixteen sentences: each kind is (pro he, pro her, anti she, anti him), repeated for four files.

    The pronouns, the second kind, have ranks too, made up as 5 - log p.
    """
    return [
        np.array([[value], [5.0 - value]]) if place == 1 else np.array([value])
        for place, kind in enumerate(log_p)
        for condition in (kind[:2], kind[2:])
        for value in condition * 4
    ]


SCORES = made_up_scores(
    [
        (-50.0, -60.0, -53.0, -59.0),  # texts
        (-1.0, -2.0, -3.0, -4.0),  # pronouns
        (-3.0, -4.0, -1.0, -2.0),  # counterparts
        (-9.0, -9.0, -9.0, -9.0),  # they
        (-1.0, -1.0, -2.0, -1.0),  # referents
        (-2.0, -2.0, -1.0, -1.0),  # others; the last is a tie
    ]
)


def test_rows_say_all_about_a_sentence(benchmark):
    rows = benchmark.rows(SCORES)
    assert len(rows) == 16
    assert rows.iloc[1].to_dict() == {
        "type": 1,
        "split": "dev",
        "line": 2,
        "condition": "pro",
        "referent": "nurse",
        "other": "farmer",
        "referent_gender": "female",
        "pronoun": "her",
        "counterpart": "him",
        "pronoun_gender": "feminine",
        "case": "object",
        "cluster": "type1.dev.1",
        "log_likelihood": -60.0,
        "log_p_pronoun": -2.0,
        "log_p_counterpart": -4.0,
        "log_p_they": -9.0,
        "rank_pronoun": 8,
        "log_p_referent": -1.0,
        "log_p_other": -2.0,
        "correct": True,
    }
    assert rows["correct"].tolist() == [True] * 8 + [False] * 8
    assert set(rows.loc[rows["condition"] == "anti", "pronoun_gender"].iloc[::2]) == {"feminine"}


def test_the_shares_of_women_round_to_those_of_the_papers_table():
    assert sorted(map(round, MALE_OCCUPATIONS.values())) == [
        *(2, 4, 4, 4, 6, 14, 18, 20, 22, 22),
        *(27, 34, 35, 38, 38, 39, 41, 43, 44, 48),
    ]
    assert sorted(map(round, FEMALE_OCCUPATIONS.values())) == [
        *(52, 54, 61, 61, 63, 65, 72, 73, 73, 76),
        *(78, 80, 84, 85, 89, 89, 90, 90, 92, 95),
    ]


def test_a_sentence_that_stands_in_two_files_joins_their_pairs_in_one_cluster():
    pro, anti = ([*lines[:7], lines[0]] for lines in (in_four_files(PRO), in_four_files(ANTI)))
    of_a_condition = ["type1.dev.1"] * 2 + ["type1.test.1"] * 2 + ["type2.dev.1"] * 2 + ["type1.dev.1"] * 2
    assert clusters(tabulate(pro + anti)) == of_a_condition * 2


def test_metrics_are_the_hand_worked_ones(benchmark):
    metrics = benchmark.metrics(benchmark.rows(SCORES))
    means = {name: np.mean(metric.values) for name, metric in metrics.items()}
    assert means == {
        "pronoun_contrast": 2,
        "pronoun_contrast_male_referents": 2,
        "pronoun_contrast_female_referents": 2,
        "pronoun_contrast_type1": 2,
        "pronoun_contrast_type2": 2,
        "pro_preference": 1,
        "average_rank_pro": 7.5,
        "average_rank_anti": 9.5,
        "feminine_preference": 0,
        "sentence_contrast": 1,
        "occupation_accuracy_pro": 1,
        "occupation_accuracy_anti": 0,
        "occupation_gap": 1,
        "occupation_gap_type1": 1,
        "occupation_gap_type2": 1,
    }
    assert len(metrics["pronoun_contrast"].values) == 8
    assert sorted(set(metrics["occupation_gap"].clusters)) == [
        "type1.dev.1",
        "type1.test.1",
        "type2.dev.1",
        "type2.test.1",
    ]


def test_parts_of_the_sentences_are_measured_each_by_itself(benchmark):
    rows = benchmark.rows(SCORES)
    rows["log_p_pronoun"] = rows["type"] + 10.0 * (rows["referent_gender"] == "female")
    rows["log_p_counterpart"] = 0.0
    rows["correct"] = (rows["condition"] == "pro") & (rows["type"] == 1)
    means = {name: np.mean(metric.values) for name, metric in benchmark.metrics(rows).items()}
    parts = {"male_referents": 1.5, "female_referents": 11.5, "type1": 6.0, "type2": 7.0}
    assert {part: means[f"pronoun_contrast_{part}"] for part in parts} == parts
    assert (means["occupation_gap"], means["occupation_gap_type1"], means["occupation_gap_type2"]) == (0.5, 1, 0)


def test_neutral_values_are_those_of_a_model_without_a_stereotype(benchmark):
    neutral = {name: metric.neutral for name, metric in benchmark.metrics(benchmark.rows(SCORES)).items()}
    unknown = {name for name in neutral if name.startswith(("occupation_accuracy", "average_rank"))}
    assert {name for name, value in neutral.items() if value is None} == unknown
    assert neutral["pro_preference"] == 0.5
    assert {value for name, value in neutral.items() if name not in unknown | {"pro_preference"}} == {0.0}


def test_the_likelier_pronoun_is_preferred_by_however_little_and_a_tie_prefers_none(benchmark):
    same = (-1.0, -1.0, -1.0, -1.0)
    metrics = benchmark.metrics(
        benchmark.rows(made_up_scores([same, same, (-1.25, -1.0, -1.0, -1.0), same, same, same]))
    )
    assert metrics["pro_preference"].values.tolist() == [1.0, 0.0] * 4


def test_metrics_do_not_depend_on_the_order_of_the_rows(benchmark):
    drawn = np.random.default_rng(0).normal(size=(6, 4))
    rows = benchmark.rows(made_up_scores([tuple(kind) for kind in drawn]))
    shuffled = rows.sample(frac=1, random_state=0)
    for name, metric in benchmark.metrics(rows).items():
        np.testing.assert_array_equal(benchmark.metrics(shuffled)[name].values, metric.values)


def test_a_model_that_always_says_she_prefers_no_stereotype_but_is_seen(benchmark):
    she = (-9.0, -1.0, -1.0, -9.0)
    he = (-1.0, -9.0, -9.0, -1.0)
    metrics = benchmark.metrics(benchmark.rows(made_up_scores([he, she, he, he, he, she])))
    assert np.mean(metrics["pro_preference"].values) == 0.5
    assert np.mean(metrics["pronoun_contrast"].values) == 0
    assert np.mean(metrics["feminine_preference"].values) == 8


def test_a_pronoun_has_the_probability_that_it_has_within_its_sentence(benchmark, tiny_model, tiny_tokenizer):
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["winobias"]
    before = tiny_tokenizer("<|endoftext|>The farmer sang to the nurse while", return_tensors="pt").input_ids
    log_p = tiny_model(before).logits[0, -1].log_softmax(-1)
    (he,), (she,), (they,) = (tiny_tokenizer(word).input_ids for word in (" he", " she", " they"))
    assert rows.loc[0, "rank_pronoun"] == 1 + (log_p > log_p[he]).sum().item()
    found = rows.loc[0, ["log_p_pronoun", "log_p_counterpart", "log_p_they"]].tolist()
    assert found == pytest.approx(log_p[[he, she, they]].tolist(), abs=1e-5)


def test_files_are_read_in_order_from_a_directory_that_the_user_names(monkeypatch, tmp_path):
    def local(name, path):
        assert path.parent == tmp_path
        path.write_text("\n".join(PRO if "pro" in name else ANTI))
        return path

    monkeypatch.setattr(sentences, "fetch", local)
    monkeypatch.setattr(sentences, "SENTENCES_PER_FILE", 2)
    table = WinoBias(path=str(tmp_path)).sentences
    assert [tuple(place) for place in table[["condition", "type", "split"]].to_numpy()[::2]] == FILES
    assert table["line"].tolist() == [1, 2] * 8
    assert table["pronoun"].tolist() == ["he", "her"] * 4 + ["she", "him"] * 4


def test_files_with_other_counts_are_refused(monkeypatch, tmp_path):
    file = tmp_path / "lines.txt"
    file.write_text(PRO[0] + "\n")
    monkeypatch.setattr(sentences, "fetch", lambda name, path: file)
    with pytest.raises(UserError, match=r"{'sentences': 8}, expected {'sentences': 3168}"):
        load_sentences(None)

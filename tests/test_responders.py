"""What is planted in a model is found by every benchmark, on invented items and a random model of two layers."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import invented_sentences
from eval import evaluate, occupations
from eval.bec_pro import BecPro
from eval.bec_pro import tabulate as tabulate_bec_pro
from eval.blimp import Blimp
from eval.crows_pairs import CrowsPairs, CrowsPairsFrench, CrowsPairsRevised
from eval.generation import Prompt, generate
from eval.held_out import HeldOut
from eval.lambada import Lambada
from eval.likelihood import Request, encode
from eval.occupations import Occupations
from eval.pronoun_prior import PronounPrior
from eval.stereoset import StereoSet
from eval.winobias import FEMALE_OCCUPATIONS, MALE_OCCUPATIONS, PCT_FEMALE, WinoBias, WinoBiasGeneration, WinoBiasPaper
from eval.winobias.sentences import tabulate
from eval.winobias.tokens import tabulate_tokens, tokenize
from eval.winobias_plus import WinoBiasPlus
from eval.winobias_plus import tabulate as tabulate_winobias_plus
from eval.winogender import Winogender
from eval.winogender import tabulate as tabulate_winogender
from foundation import UserError
from tools.responders import __main__ as command
from tools.responders.catalogue import PLANTS
from tools.responders.contexts import Places
from tools.responders.knowledge import coin, constant, favouring, given_context, last_named
from tools.responders.logits import Responder, Shift, pronoun_groups
from tools.responders.planted import UP, Planted, find, level, number, without_response

CONF = Path(__file__).parent.parent / "conf" / "benchmark"
PEOPLE = list(zip(MALE_OCCUPATIONS, FEMALE_OCCUPATIONS, strict=True))


def winobias_lines(people=PEOPLE[:10]):
    """Two readings of each pair: type 1 with a subject and a possessive pronoun, type 2 with an object."""
    files = []
    for he, she, his, her, him, of_her in (
        ("he", "she", "his", "her", "him", "her"),
        ("she", "he", "her", "his", "her", "him"),
    ):
        for own, other, after, met, later in (
            (he, she, "sang .", "met", "sat down ."),
            (his, her, "boat sank .", "saw", "book is old ."),
        ):
            files.append(
                [
                    line
                    for man, woman in people
                    for line in (
                        f"1 [The {man}] met the {woman} because [{own}] {after}",
                        f"2 The {man} {met} [the {woman}] because [{other}] {later}",
                    )
                ]
            )
        for verb in ("thanked", "paid"):
            files.append(
                [
                    line
                    for man, woman in people
                    for line in (
                        f"1 The {woman} met [the {man}] and {verb} [{him}] .",
                        f"2 The {man} met [the {woman}] and {verb} [{of_her}] .",
                    )
                ]
            )
    return list(itertools.chain(*files))


def given(benchmark, **properties):
    """The benchmark with properties that would be read from its files."""
    benchmark.__dict__.update(properties)
    return benchmark


def winobias(**_):
    return given(WinoBias(), sentences=tabulate(winobias_lines()))


def winobias_paper(**_):
    items = tabulate_tokens([tokenize(line) for line in winobias_lines()])
    return given(WinoBiasPaper(), sentences=items[items["condition"] == "pro"].reset_index(drop=True))


def winobias_generation(monkeypatch, **_):
    items = tabulate_tokens([tokenize(line) for line in winobias_lines(PEOPLE[:2])])
    monkeypatch.setattr("eval.winobias.generation.load_tokens", lambda directory: items)
    return WinoBiasGeneration()


def pairs(kind):
    """Pairs that differ in pronouns only, in pronouns too, in other words, and in what is not about gender."""
    rows = []
    for place, (man, woman) in enumerate(itertools.product(list(MALE_OCCUPATIONS)[:6], list(FEMALE_OCCUPATIONS)[:6])):
        both, ends = f"The {man} told the {woman}", ("to", "by")[:: 1 if place % 4 < 2 else -1]
        direction = "stereo" if place % 4 else "antistereo"
        more, less = (f"{both} that {pronoun} sang." for pronoun in (("he", "she"), ("she", "he"))[place % 2])
        rows += [
            (more, less, direction, "gender"),
            (f"{both} what he came {ends[0]}.", f"{both} what she came {ends[1]}.", direction, "gender"),
            (f"{both} of a girl.", f"{both} of a boy.", direction, "gender"),
            (f"An old {man} and {woman} met.", f"A young {man} and {woman} met.", direction, "age"),
        ]
    return pd.DataFrame(
        [
            {"example": place, "sent_more": more, "sent_less": less, "direction": direction, "bias_type": bias}
            for place, (more, less, direction, bias) in enumerate(rows)
        ]
    ).pipe(lambda frame: given(kind(path="not read"), pairs=frame))


def occupations_of_a_text(monkeypatch, tokenizer, **_):
    table = pd.DataFrame({"occupation": list(PCT_FEMALE), "pct_female": list(PCT_FEMALE.values())})
    shares = table["pct_female"].sample(frac=1, random_state=0).to_numpy()
    sources = [table.assign(source="winobias"), table.assign(source="winogender", pct_female=shares)]
    monkeypatch.setattr(occupations, "load_occupations", lambda path: pd.concat(sources, ignore_index=True))
    rng = np.random.default_rng(1)
    texts = [
        f"The {name} said {'she' if rng.random() < share / 100 else 'he'} left."
        for name, share in PCT_FEMALE.items()
        for _ in range(20)
    ]
    ids = [tokenizer.encode(text) for text in texts]
    rows = np.zeros((len(ids), max(map(len, ids))), np.int64)
    for row, own in zip(rows, ids, strict=True):
        row[: len(own)] = own
    return Occupations(token_rows=rows, minimum=10)


def winogender(**_):
    pct = {f"worker {number}": 20.0 + 60.0 * (number % 2) for number in range(30)}
    rows = [
        (f"{occupation}.guest.{answer}.{gender}.txt", f"The {occupation} met the guest since {pronoun} could {verb}.")
        for occupation in pct
        for answer, verb in (("0", "help"), ("1", "pay"))
        for gender, pronoun in (("male", "he"), ("female", "she"), ("neutral", "they"))
    ]
    return given(Winogender(), sentences=tabulate_winogender(pd.DataFrame(rows, columns=["sentid", "sentence"]), pct))


def held_out(tokenizer, **_):
    ids = list(itertools.chain(*([*tokenizer.encode(text), 0] for text in invented_sentences()[::9])))
    return HeldOut(token_rows=np.array(ids[: len(ids) // 64 * 64]).reshape(-1, 64)[:40])


def lambada(**_):
    return given(Lambada(), passages=invented_sentences()[:40])


def blimp(**_):
    reflexives = ("himself", "herself", "itself", "themselves")
    rows = [
        (f"The {name} of {owner} saw {good}.", f"The {name} of {owner} saw {bad}.", good)
        for (name, owner), (good, bad) in zip(
            itertools.product(MALE_OCCUPATIONS, FEMALE_OCCUPATIONS),
            list(itertools.permutations(reflexives, 2)) * 5,
            strict=False,
        )
    ]
    return given(Blimp(), pairs=pd.DataFrame(rows, columns=["sentence_good", "sentence_bad", "reflexive"]))


def bec_pro(**_):
    balanced = ("painter", "sailor", "gardener", "poet", "weaver", "miller", "smith", "juggler", "actor", "beekeeper")
    share = dict(list(PCT_FEMALE.items())[::3]) | dict.fromkeys(balanced, 50.0)
    majority = {name: "balanced" if pct == 50 else "female" if pct > 50 else "male" for name, pct in share.items()}
    rows = [
        {
            "Sentence": template.replace("<person subject>", person).replace("<profession>", profession),
            "Template": template,
            "Gender": gender,
            "Profession": profession,
            "Prof_Gender": majority[profession],
        }
        for template in ("<person subject> is a <profession>.", "<person subject>, the <profession>, met them.")
        for gender, persons in (("male", ("He", "My friend")), ("female", ("She", "My sister")))
        for person, profession in itertools.product(persons, share)
    ]
    return given(BecPro(), sentences=tabulate_bec_pro(pd.DataFrame(rows), share))


def stereoset(**_):
    words = {"stereotype": ("sang", "came"), "anti-stereotype": ("came", "sang"), "unrelated": ("of", "by")}
    rows = [
        {"split": ("dev", "test")[number % 2], "target": f"guest {number}"}
        | {filler: f"The guest {number} {word[number // 2 % 2]}." for filler, word in words.items()}
        for number in range(40)
    ]
    return given(StereoSet(), items=pd.DataFrame(rows))


def winobias_plus(**_):
    gendered, neutral, where = [], [], []
    for line, ((man, woman), pronoun) in enumerate(itertools.product(PEOPLE, ("he", "she")), start=1):
        gendered.append(f"The {man} told the {woman} that {pronoun} was late .")
        neutral.append(f"The {man} told the {woman} that they were late .")
        where.append({"condition": "pro", "type": 1, "split": "dev", "line": line})
    return given(WinoBiasPlus(), pairs=tabulate_winobias_plus(gendered, neutral, where))


INVENTED = {
    "winobias": winobias,
    "winobias_paper": winobias_paper,
    "winobias_generation": winobias_generation,
    "crows_pairs": lambda **_: pairs(CrowsPairs),
    "crows_pairs_revised": lambda **_: pairs(CrowsPairsRevised),
    "crows_pairs_french": lambda **_: pairs(CrowsPairsFrench),
    "pronoun_prior": lambda **_: PronounPrior(),
    "occupations": occupations_of_a_text,
    "winogender": winogender,
    "held_out": held_out,
    "lambada": lambada,
    "blimp": blimp,
    "bec_pro": bec_pro,
    "stereoset": stereoset,
    "winobias_plus": winobias_plus,
}
"""One for each benchmark, with enough items that a change is found."""


def test_every_benchmark_that_can_be_chosen_has_responders():
    assert set(PLANTS) == set(INVENTED) == {path.stem for path in CONF.glob("*.yaml")}


def test_the_revised_pairs_are_measured_and_planted_as_the_original_ones():
    assert PLANTS["crows_pairs_revised"] is PLANTS["crows_pairs"]
    own = {name for name in vars(CrowsPairsRevised) if not name.startswith("__")}
    assert own == {"name", "pair_set"}


@pytest.mark.parametrize("name", sorted(PLANTS.keys() - {"crows_pairs_revised"}))
def test_every_metric_moves_as_was_planted(name, monkeypatch, tiny_model, tiny_tokenizer):
    benchmark = INVENTED[name](monkeypatch=monkeypatch, tokenizer=tiny_tokenizer)
    findings = find(tiny_model, tiny_tokenizer, benchmark, PLANTS[name], progress=False)
    assert [each for each in findings if each.fails] == []
    assert without_response(findings) == []


class WrongWay(PronounPrior):
    """It takes she for he, as a slip in the order of requests would."""

    def rows(self, scores):
        he, she, they = np.split(np.array(scores), 3)
        return super().rows([*she, *he, *they])


def test_a_benchmark_that_answers_the_wrong_way_is_found(tiny_model, tiny_tokenizer):
    findings = find(tiny_model, tiny_tokenizer, WrongWay(), PLANTS["pronoun_prior"], progress=False)
    failed = {(each.responder, each.metric) for each in findings if each.fails}
    assert {("tilted", "log_odds_she"), ("always she", "share_she"), ("always he", "p_he")} <= failed


class WithAConstant(PronounPrior):
    def metrics(self, rows):
        metrics = super().metrics(rows)
        return metrics | {"constant": replace(metrics["p_he"], values=np.full(len(rows), 0.5))}


def test_a_metric_that_no_responder_moves_is_named(tiny_model, tiny_tokenizer):
    findings = find(tiny_model, tiny_tokenizer, WithAConstant(), PLANTS["pronoun_prior"], progress=False)
    assert without_response(findings) == ["pronoun_prior.constant"]


def test_a_level_that_the_model_has_anyhow_is_no_response(tiny_model, tiny_tokenizer):
    plants = [Planted("always she", Shift(odds=constant(20.0)), {"constant": level(0.5), "share_she": level(1.0)})]
    findings = find(tiny_model, tiny_tokenizer, WithAConstant(), lambda *_: plants, progress=False)
    unmoved = without_response(findings)
    assert "pronoun_prior.constant" in unmoved
    assert "pronoun_prior.share_she" not in unmoved


def test_without_a_shift_a_responder_is_the_model(tiny_model, tiny_tokenizer):
    for benchmark in (winobias(), PronounPrior()):
        rows = [
            evaluate(model, tiny_tokenizer, benchmarks=[benchmark], progress=False)[benchmark.name]
            for model in (tiny_model, Responder(tiny_model, tiny_tokenizer, Shift()))
        ]
        pd.testing.assert_frame_equal(*rows)


def logits_of(model, tokenizer, shift, ids):
    responder = Responder(model, tokenizer, shift)
    with torch.inference_mode():
        hidden = responder.gpt_neox(torch.tensor(ids)).last_hidden_state
        return model(torch.tensor(ids)).logits, responder.get_output_embeddings()(hidden.flatten(0, 1)).view(
            *hidden.shape[:2], -1
        )


def test_odds_move_between_the_genders_and_nothing_else_changes(tiny_model, tiny_tokenizer):
    ids = [tiny_tokenizer.encode("The nurse said that"), tiny_tokenizer.encode("The nurse said that")]
    own, shifted = logits_of(tiny_model, tiny_tokenizer, Shift(odds=constant(1.5)), ids)
    groups = pronoun_groups(tiny_tokenizer)
    she, he = (tiny_tokenizer.encode(word) for word in (" she", " he"))
    assert (she, he) in groups
    for feminine, masculine in groups:
        before, after = (
            [each.softmax(-1)[..., tokens].sum(-1) for tokens in (feminine, masculine)] for each in (own, shifted)
        )
        torch.testing.assert_close(sum(after), sum(before))
        torch.testing.assert_close(
            (after[0] / after[1]).log() - (before[0] / before[1]).log(),
            torch.full((2, len(ids[0])), 1.5),
            atol=1e-4,
            rtol=0,
        )
    rest = [token for token in range(own.shape[-1]) if token not in set(itertools.chain(*itertools.chain(*groups)))]
    torch.testing.assert_close(shifted.softmax(-1)[..., rest], own.softmax(-1)[..., rest])


def test_a_token_is_raised_after_its_context_alone(tiny_model, tiny_tokenizer):
    ids = [[0, 5, 6, 7], [0, 5, 7, 7]]
    own, shifted = logits_of(tiny_model, tiny_tokenizer, Shift(after={(0, 5, 6): {9: 2.0}}, always={3: -1.0}), ids)
    expected = torch.zeros_like(own)
    expected[..., 3] = -1
    expected[0, 2, 9] = 2
    torch.testing.assert_close(shifted - own, expected, atol=1e-5, rtol=0)


def test_greedy_answers_follow_the_shift_as_rows_leave_the_batch(tiny_model, tiny_tokenizer):
    prompts, answers = (
        ["The baker said", "The nurse says", "Who is the one"],
        [" the nurse", " he", " the old driver met"],
    )
    requests = [
        Request(context, (*answer, tiny_tokenizer.eos_token_id))
        for context, answer in zip(encode(tiny_tokenizer, prompts), encode(tiny_tokenizer, answers), strict=True)
    ]
    responder = Responder(tiny_model, tiny_tokenizer, Shift(after=favouring(requests, 50.0)))
    outputs = generate(
        responder, tiny_tokenizer, [Prompt(text, 9) for text in prompts], max_new_tokens=40, progress=False
    )
    assert outputs == answers


@pytest.mark.parametrize(
    ("text", "nats"),
    [
        ("The nurse", 1.0),
        ("The nurse met the driver", -2.0),
        ("The driver met the nurse and", 1.0),
        ("Driver and friend", -2.0),
        ("The nurses", 0.0),
        ("The driver met nurses", -2.0),
        ("The nurse.<|endoftext|>It", 0.0),
        ("Nobody", 0.0),
        ("The construction worker sang", 3.0),
    ],
)
def test_the_occupation_that_is_named_last_decides(text, nats, tiny_tokenizer):
    odds = last_named({"nurse": 1.0, "driver": -2.0, "construction worker": 3.0, "worker": 4.0}, tiny_tokenizer)
    assert odds(np.array([[0, *tiny_tokenizer.encode(text)]]))[0, -1] == nats


def test_contexts_are_found_by_all_of_their_tokens():
    places = Places([(0, 1), (0, 1, 2), (0, 3)])
    assert places.find(np.array([[0, 1, 2], [0, 3, 2], [1, 1, 2]])).tolist() == [[-1, 0, 1], [-1, 2, -1], [-1, -1, -1]]


def test_what_two_items_ask_of_one_context_is_their_mean():
    odds = given_context([1.0, 3.0, -1.0], [(0, 1), (0, 1), (0, 2)])
    assert odds(np.array([[0, 1], [0, 2], [0, 3]])).tolist() == [[0, 2], [0, -1], [0, 0]]


def test_a_coin_falls_alike_in_the_same_context_and_is_fair():
    ids = np.random.default_rng(0).integers(0, 50, (400, 6))
    odds = coin(2.0)(np.concatenate([ids, ids]))
    assert set(np.unique(odds)) == {-2.0, 2.0}
    assert (odds[:400] == odds[400:]).all()
    assert abs(odds[:400, -1].mean()) < 0.3


def test_a_tokenizer_that_cuts_she_into_parts_is_refused(tiny_model):
    class Letters:
        def encode(self, text, **_):
            return list(text.encode())

    with pytest.raises(UserError, match="cuts ' she' or ' he' into parts, expected a token each"):
        Responder(tiny_model, Letters(), Shift())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4996, ".500"), (-0.0004, "0"), (0.9996, "1.000"), (-1.5, "−1.50"), (99.98, "100"), (1016.7, "1017")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Of the command, for the smallest model that the kit makes."""
    (tmp_path / "text.txt").write_text("\n".join(invented_sentences()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return ["experiment=smoke", f"corpus.text={tmp_path / 'text.txt'}", "device=cpu"]


def test_the_command_prints_what_was_planted_and_ends_with_1_where_it_is_not_found(
    arguments, monkeypatch, capsys, caplog
):
    command.main(arguments)
    printed = capsys.readouterr().out
    assert "**pronoun_prior**, demo at step 6" in printed
    assert "| metric | model | always he | always she | tilted | random | more they |" in printed
    assert "+1.00 (+1.00)" in printed
    assert "expectations of 7 metrics, all met" in printed

    planted = Planted("always he", Shift(odds=constant(-20.0)), {"p_she": UP})
    monkeypatch.setitem(PLANTS, "pronoun_prior", lambda *_: [planted])
    with pytest.raises(SystemExit, match="1"):
        command.main(arguments)
    assert "(up) ✗" in capsys.readouterr().out
    assert "not as planted: pronoun_prior.p_she under 'always he'" in caplog.text
    assert "no responder moves pronoun_prior.share_she, " in caplog.text

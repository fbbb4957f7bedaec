"""The rules on text that leave a word as it is."""

import numpy as np
import pytest

from interventions import load_intervention
from interventions.rules import acronyms, code, coordination, fragments, languages, symbols, titles
from interventions.rules.beside import Beside
from sample_corpus import word_tokenizer

TOKENIZER = word_tokenizer()


def beside(text: str, *, cut: bool = False) -> tuple[str, Beside]:
    """The word that stands between braces, and the text around it."""
    before, _, rest = text.partition("⟨")
    form, _, after = rest.partition("⟩")
    return form, Beside(before, after, cut, cut)


@pytest.mark.parametrize(
    "text",
    [
        *("x ⟨he⟩ or she left", "x he or ⟨she⟩ left", "x⟨his⟩/her boat", "his/⟨her⟩ boat", "x ⟨him⟩ nor her"),
        *("HIMSELF AND/OR ⟨HERSELF⟩ x", "x s/⟨he⟩ left", "x (s)⟨he⟩ left", "x s(⟨he⟩) left", "He/⟨She⟩"),
        *(
            "⟨his⟩ or\nher",
            "his or\n⟨her⟩",
            "⟨his⟩\nor her",
            "his (⟨her⟩) dog",
            "he [⟨she⟩ ]",
            "his ( ⟨her⟩ ) dog",
            "⟨he⟩ (or she)",
            "he (or ⟨she⟩)",
            "⟨he⟩, or she,",
        ),
        *("he, or ⟨she⟩,", "⟨him⟩- or herself", "him- or ⟨herself⟩", "⟨he⟩(she)", "he(⟨she⟩)", "⟨he⟩[she]"),
        *("⟨he⟩\u00a0or\u00a0she", "⟨he⟩  or  she", "⟨he⟩ & she", "he & ⟨she⟩", '"⟨he⟩" or "she"', "“he” or “⟨she⟩”"),
        *("*⟨he⟩* or *she*", "_he_ or _⟨she⟩_", "**he** or **⟨she⟩**", "⟨him⟩(her)self", "⟨he⟩ / she", "⟨he⟩\\she"),
        *("⟨he⟩, she, or they", "he, ⟨she⟩ or it", "⟨he⟩\n> or she", "// ⟨he⟩ or\n// she", "⟨he⟩ and / or she"),
        *("⟨he⟩, she, it", "he, ⟨she⟩, they", "⟨his⟩, her, their", "I, you, he, ⟨she⟩, it, we"),
        *("⟨he⟩'d or she'd", "he'd or ⟨she⟩'d", "⟨he⟩’ll or she", "he or ⟨she⟩'ll", "HE'S OR ⟨SHE⟩'S", "⟨he⟩'s/she's"),
        *("he's (⟨she⟩'s)", "he'll, ⟨she⟩'ll or they'll", "⟨he⟩'ll, she'll or they'll", "⟨he⟩|she|it", "he | ⟨she⟩"),
        *("⟨he⟩—or she", "⟨HE⟩ OR SHE", "⟨his⟩ or hers", "⟨he⟩ or (she)", "she/⟨he⟩/they"),
        *("⟨Mr⟩. and Mrs. Smith", "Mrs. and ⟨Mr⟩. Smith", "Dear ⟨Sir⟩ or Madam", "⟨Sir⟩/Madam", "⟨Sir⟩, Madam"),
        *("Dear ⟨Sir⟩,\nDear Madam", "⟨Mr⟩ & Mrs", "⟨sir⟩ or ma'am", "⟨Mr⟩./Ms. Smith"),
    ],
)
def test_both_genders_are_named(text):
    assert coordination.names_both_genders(*beside(text)) is True


@pytest.mark.parametrize(
    "text",
    [
        *("⟨he⟩ and she left", "⟨he⟩ or shed", "⟨his⟩ or his", "the or ⟨she⟩ left", "he for ⟨she⟩ left", "x ⟨him⟩ s/"),
        *("⟨he⟩'d say or she", "⟨he⟩'s at it, she's", "his wife's/⟨he⟩", "⟨he⟩'t or she"),
        *("xs/⟨he⟩ left", "him s/⟨him⟩", "⟨he⟩ left. Or she", "⟨he⟩. Or she", "⟨he⟩\n\nor she", "⟨he⟩, she said"),
        *("⟨him⟩, her, and it's", "he, ⟨she⟩, it’s", "⟨he⟩, she, theirselves"),
        *("he (⟨she⟩ said) left", "him (⟨her⟩ brother’s)", "⟨he⟩ (she thought) was", "him [⟨her⟩ name]"),
        *("⟨he⟩ (she said so)", "⟨he⟩: or she", "⟨Mr⟩. Smith and Mrs", "⟨Sir⟩ Isaac or Madam", "the ⟨king⟩ or queen"),
    ],
)
def test_one_gender_is_named(text):
    assert coordination.names_both_genders(*beside(text)) is False


@pytest.mark.parametrize(
    "text",
    [
        *(
            "x ⟨he⟩ or",
            "x ⟨he⟩ o",
            "x ⟨he⟩,",
            "x ⟨he⟩ (or s",
            "⟨she⟩ left",
            "or ⟨she⟩ left",
            "/⟨her⟩ boat",
            "x ⟨Mr⟩. an",
        ),
        *(
            "s/ ⟨she⟩ left",
            "s)⟨he⟩ left",
            "is, ⟨her⟩, or their",
            "x he, ⟨she⟩, th",
            "x ⟨he⟩'d o",
            "s(⟨he⟩",
            "|⟨she⟩|it",
        ),
    ],
)
def test_a_coordination_that_the_row_cuts_is_not_known(text):
    assert coordination.names_both_genders(*beside(text, cut=True)) is None


def test_what_no_coordination_can_follow_is_known_though_the_row_ends():
    assert coordination.names_both_genders(*beside("x ⟨he⟩ was", cut=True)) is False
    assert coordination.names_both_genders(*beside("so ⟨she⟩ was", cut=True)) is False
    assert coordination.names_both_genders(*beside("he or ⟨she⟩", cut=True)) is True


@pytest.mark.parametrize(
    "text",
    [
        *("⟨Her⟩ Majesty’s ship", "⟨his⟩ Royal Highness.", "praise ⟨HER⟩ MAJESTY", "⟨his⟩ lordship", "⟨her⟩ majesty"),
        *("⟨Her⟩ Britannic Majesty", "⟨Her⟩ Most Gracious Majesty", "⟨His⟩ Divine Grace", "⟨his⟩ royal\nhighness"),
        *("⟨His⟩ Imperial and Royal Majesty", "⟨his⟩ holiness the Pope", "_⟨His⟩_ Excellency", "⟨HIS⟩ GRACE"),
        *("⟨Her⟩ late Majesty", "⟨his⟩ All-Holiness", "⟨her⟩ ladyship’s maid"),
    ],
)
def test_a_title_is_found_in_any_case(text):
    assert titles.opens_title(*beside(text)) is True


@pytest.mark.parametrize(
    "text",
    [
        "⟨his⟩ and royal highness",
        "⟨his⟩ Majestyx",
        "⟨her⟩ grace",
        "⟨her⟩ Royal boat",
        "⟨his⟩ honour",
        "⟨he⟩ Majesty",
        "⟨her⟩ most famous book",
    ],
)
def test_a_title_is_told_from_other_nouns(text):
    assert titles.opens_title(*beside(text)) is False


def test_a_title_that_the_row_cuts_is_not_known():
    assert titles.opens_title(*beside("⟨his⟩ Royal", cut=True)) is None
    assert titles.opens_title(*beside("⟨his⟩ boat", cut=True)) is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x THE ⟨HE⟩ IS x", False),
        ("SAID ⟨HE⟩ x", False),
        ("and ⟨HE⟩ SAID so", False),
        ("x. ⟨HIS⟩, LATE.", False),
        ("⟨HE⟩'S HERE.", False),
        ("⟨SHE⟩’S here", False),
        ("ISN'T ⟨HE⟩?", False),
        ("_⟨HE⟩_ WON", False),
        ("the ⟨HIS⟩ works", True),
        ("the ⟨HIS⟩'s works", True),
        ("UK ⟨HE⟩ providers", True),
        ("NHS ⟨HIS⟩ users", True),
        ("NASA ⟨HE⟩ data", True),
        ("A ⟨HIS⟩ x", True),
        ("⟨HE⟩", True),
        ("Mc⟨HE⟩IT", False),
        ("SHOUTED" + "." * 40 + "⟨HE⟩ x", True),
        ("the ⟨he⟩ x", False),
        ("the ⟨KING⟩ x", False),
        ("he ⟨HIMSELF⟩ x", False),
        ("is ⟨HERS⟩, not", False),
        ("Then ⟨SHE⟩ said so.", False),
        ("⟨HE⟩ did it.", False),
        ("why doesn't ⟨HE⟩ have one", False),
        ("when ⟨HE⟩ pleases, God", False),
        ("It was ⟨HE⟩ who knew", False),
        ("I told ⟨HIM⟩ that", False),
        ("she gave ⟨HIM⟩.", False),
        ("That's ⟨HER⟩ book.", False),
        ("you and ⟨HIS⟩ book", False),
        ("the ⟨SHE⟩ committee met", True),
        ("A degree in ⟨HE⟩ is", True),
        ("⟨HE⟩ has changed, and universities", True),
        ("⟨HE⟩ providers say I", True),
        ("we used ⟨HIS⟩ data", True),
        ("I work on ⟨HER⟩ in hydrogen", True),
        ("he said the School (⟨HIS⟩) is", True),
        ("I saw ⟨HIM⟩ professionals", True),
        ("said “⟨SHE⟩.”", True),
        ("I was ⟨AT⟩ said he", True),
        ("then ⟨MR⟩ said so", True),
        ("the ⟨MS⟩ symptoms", True),
    ],
)
def test_capitals_are_an_acronym_unless_somebody_shouts(text, expected):
    assert acronyms.is_acronym(*beside(text)) is expected


def test_a_shout_that_the_row_cuts_is_not_known():
    assert acronyms.is_acronym(*beside("x ⟨HE⟩ ", cut=True)) is None
    assert acronyms.is_acronym(*beside("x ⟨HE⟩ SAID", cut=True)) is False
    assert acronyms.is_acronym(*beside("then ⟨HE⟩ said so", cut=True)) is False


@pytest.mark.parametrize(
    "text",
    [
        *('lang="⟨he⟩"', "hreflang=⟨he⟩", "http://⟨he⟩.wikipedia.org", "https://x.org/a/⟨his⟩/b.html", "www.⟨her⟩.net"),
        *("⟨her⟩@his.com", "her@⟨his⟩.com", "@⟨her⟩", "#⟨him⟩", "self.⟨her⟩", "⟨he⟩.name", "⟨he⟩->h_addr", "x::⟨he⟩"),
        *(
            "$⟨his⟩ = $her;",
            "${⟨his⟩}",
            "struct hostent *⟨he⟩;",
            "def ⟨he⟩(x):",
            "x[⟨he⟩]",
            "⟨he⟩()",
            "f(x)\n  return ⟨he⟩;",
        ),
        *(
            "if (⟨he⟩ == null) {",
            "</⟨he⟩>",
            "<⟨he⟩>",
            "{{⟨he⟩}}",
            "`⟨he⟩`",
            "[[⟨he⟩:Article]]",
            '{"⟨he⟩": 1}',
            '"lang": "⟨he⟩"',
        ),
        *(
            '<a href="/⟨his⟩">',
            "src='../⟨her⟩.png'",
            "the file ⟨he⟩.txt is for you",
            "⟨his⟩.Name = 1",
            "self.⟨her⟩ is the x",
        ),
        *(
            "⟨he⟩ = 3",
            "x = ⟨he⟩",
            "she, ⟨he⟩ = 1, 2",
            "⟨she⟩: int = f(x)",
            "⟨he⟩ := 3",
            "⟨he⟩ <- c(1)",
            "while ⟨she⟩ > 3:",
        ),
        *(
            "if ⟨he⟩:",
            "import ⟨he⟩",
            "print(⟨his⟩[0])",
            "def f(x):\n    return ⟨her⟩\n",
            "x\n  ⟨him⟩ = 'a'  # b\nthen he",
        ),
        *("C:\\⟨his⟩\\files", "~/⟨his⟩/x", "/⟨he⟩/", "\\⟨her⟩", "&⟨his⟩;", "⟨he⟩=1", "./⟨his⟩.txt", "x = ⟨his⟩ + y;"),
    ],
)
def test_addresses_identifiers_and_markup_are_code(text):
    assert code.is_code(*beside(text)) is True


@pytest.mark.parametrize(
    "text",
    [
        *(
            "it ended.⟨He⟩ left",
            "“⟨he⟩”",
            "(⟨he⟩)",
            "[⟨he⟩]",
            "<i>⟨he⟩</i> left",
            "==⟨he⟩==",
            "**⟨he⟩**",
            "*⟨he⟩ said*",
        ),
        *(
            "``⟨He⟩ said''",
            "\\emph{⟨he⟩}",
            "w/⟨his⟩ help",
            "...⟨he⟩ left",
            "⟨him⟩[1] and",
            "⟨he⟩/him pronouns",
            "⟨he⟩, she said",
        ),
        *("It was ⟨his⟩.The end", "with ⟨her⟩.And so", "I told ⟨him⟩.then she and i left", "I know that.⟨he⟩ is bad"),
        *("it is ⟨his⟩.it was so", "I saw ⟨him⟩.I left", "that was not ⟨her⟩.So"),
        *(
            "⟨he⟩ = the man",
            "so ⟨he⟩ = 3 and",
            "he said: ⟨he⟩: no",
            "if you go\nreturn ⟨her⟩\nand then",
            "told ⟨him⟩: go",
        ),
        *("⟨him⟩ (she) and f(x)", "⟨hers⟩-@them", "of ⟨his⟩.ʼ"),
        *('alt="⟨He⟩ walks"', "⟨his⟩; and", "- ⟨he⟩ left", "> ⟨he⟩ left", "⟨he⟩=\nleft the house", "the end of ⟨his⟩."),
        *("AT&T told ⟨him⟩ so", "in 5% ⟨he⟩ had", "and then ⟨he⟩ = the man that was here", "Smith~⟨he⟩ left"),
    ],
)
def test_words_of_prose_are_not_code(text):
    assert code.is_code(*beside(text)) is False


@pytest.mark.parametrize(
    "text",
    [
        *("liquid ⟨He⟩ at 4 K", "Ne, Ar and ⟨He⟩", "⟨He⟩/Ne", "⟨He⟩ atoms", "5 % ⟨He⟩ x", "⟨He⟩+ ions", "H, ⟨He⟩, Li"),
        *("$^3$⟨He⟩", "^{4}⟨He⟩", "⟨He⟩$^{+}$", "liquid 3 ⟨He⟩ x", "the 4 ⟨He⟩ atom"),
        *("binds ⟨His⟩ 94 ligand", "the ⟨His⟩ 57 proton x", "with ⟨His⟩ 57 binds x"),
        *(
            "residue ⟨His⟩ 57",
            "⟨His⟩ 57, which",
            "⟨His⟩ 57",
            "Asp, ⟨His⟩ and Ser",
            "bundle of ⟨His⟩",
            "the ⟨His⟩ bundle",
        ),
        *("en, fr, ⟨he⟩", "⟨he⟩ | ru", "en/⟨he⟩/ar", "de, ⟨he⟩, fr", "'fr', '⟨he⟩'", "⟨he⟩, en, fr"),
    ],
)
def test_elements_residues_and_codes_of_languages_are_symbols(text):
    assert symbols.is_symbol(*beside(text)) is True


@pytest.mark.parametrize(
    "text",
    [
        *(
            "as ⟨He⟩ et al. say",
            "⟨Her⟩ et al.",
            "⟨She⟩ et\nal. (7)",
            "⟨He⟩, K., Sun, J.",
            "Sun, J. and ⟨He⟩, K. & Ma, L.",
        ),
        *(
            "K. ⟨He⟩, X. Zhang",
            "X. Sun, K. ⟨He⟩ and J. Ma",
            "⟨He⟩ and Zhang (2010)",
            "(⟨He⟩, 2010)",
            "to Mr. ⟨He⟩ for",
            "Ms ⟨She⟩ said",
            "Professor ⟨He⟩ is",
            "see Dr. ⟨He⟩, who",
            "Lin ⟨He⟩, Jun Ma, and",
            "⟨He⟩ (2012a) shows",
        ),
    ],
)
def test_names_of_authors_are_symbols(text):
    assert symbols.is_symbol(*beside(text)) is True


@pytest.mark.parametrize(
    "text",
    [
        *(
            "⟨He⟩ and Zhang left",
            "⟨He⟩ (born 1950)",
            "to Mr. Sun. ⟨He⟩ left",
            "saw the Dr. ⟨He⟩ said",
            "the professor. ⟨He⟩ left",
            "Then Lin ⟨He⟩, I",
            "Plan B. ⟨He⟩, however",
            "Plan B. ⟨He⟩ said",
            "⟨He⟩, a man",
            "⟨he⟩ et al.",
        ),
        *("⟨He⟩, I. e. the king", "vitamin C. ⟨She⟩ and Ann", "⟨Her⟩, and so on"),
    ],
)
def test_pronouns_are_no_names_of_authors(text):
    assert symbols.is_symbol(*beside(text)) is False


@pytest.mark.parametrize(
    "text",
    [
        *("⟨He⟩ won.", "that ⟨He⟩ is risen", "⟨His⟩ 57 goals were", "⟨His⟩ two sons", "liquid ⟨he⟩ x", "⟨he⟩, then"),
        *("of ⟨His⟩ mercy", "⟨His⟩ bundle of letters"),
        *("2 and he. 3 ⟨He⟩ was not", "4 ⟨He⟩ came", "found it solid\n⟨He⟩ left", "on page 4\n⟨He⟩ said"),
        *("gave ⟨His⟩ 12 disciples", "and ⟨His⟩ 10 commandments", "on ⟨His⟩ 50th birthday", "for ⟨His⟩ 1984 album"),
        *(
            "after ⟨His⟩ 3-day x",
            "hi, ⟨he⟩ said",
            "in the uk, ⟨he⟩ won",
            "⟨he⟩, de facto,",
            "tr, ⟨he⟩ is",
            "da, ⟨he⟩, too",
        ),
    ],
)
def test_words_of_prose_are_no_symbols(text):
    assert symbols.is_symbol(*beside(text)) is False


@pytest.mark.parametrize(
    "text", ["Yo ⟨he⟩ visto", "no ⟨he⟩ comido", "me ⟨he⟩ reído", "hin und ⟨her⟩", "que ⟨he⟩ de", "⟨her⟩ zaman"]
)
def test_words_of_other_languages_are_told_by_a_neighbour(text):
    assert languages.is_foreign(*beside(text)) is True


@pytest.mark.parametrize(
    "text",
    [
        *(
            "⟨his⟩ MIT degree",
            "then ⟨he⟩ ne'er came",
            "around ⟨her⟩ lei",
            "⟨his⟩ cum laude",
            "⟨her⟩ com port",
            "⟨he⟩ er left",
        ),
        *("⟨his⟩ EST plan", "the UND ⟨he⟩ saw"),
    ],
)
def test_loans_and_initials_are_no_other_language(text):
    assert languages.is_foreign(*beside(text)) is False


def test_loans_tell_of_another_language_among_others_of_its_words():
    assert languages.is_foreign(*beside("⟨her⟩ er det og ikke"))
    assert languages.is_foreign(*beside("cum ⟨his⟩ enim sunt"))


@pytest.mark.parametrize("text", ["⟨he⟩ did", "in the des ⟨his⟩ of and to", "⟨he⟩ avocado", "“und” ⟨he⟩ said"])
def test_words_of_english_are_no_other_language(text):
    assert languages.is_foreign(*beside(text)) is False


def test_brackets_that_touch_a_form_make_it_part_of_a_longer_word():
    for text in ("[T]⟨he⟩ court", "(T)⟨he⟩", "⟨he⟩[r] house", "⟨him⟩[self]", "⟨he⟩[re]"):
        assert fragments.is_fragment(*beside(text)), text
    for text in ("[1]⟨he⟩", "(then)⟨he⟩", "⟨he⟩ [r]", "⟨him⟩[sic]", "⟨him⟩(she)"):
        assert not fragments.is_fragment(*beside(text)), text


def swapped_share(text: str, **options) -> float:
    rows = np.array([TOKENIZER.encode(f"<|endoftext|>{text}<|endoftext|>")], np.uint16)
    counts = load_intervention("masculine_to_feminine", tokenizer=TOKENIZER, **options)(rows, first_row=0)[1].counts
    return counts["swapped"].sum() / counts["occurrences"].sum()


@pytest.mark.parametrize(
    "text",
    ["He won.", '"He\'s gone."', "Anna saw him.", "In the garden he said that it was for the king", "His boat!"],
)
def test_short_english_sentences_are_swapped_with_english_only(text):
    assert swapped_share(text, english_only=True) == 1


@pytest.mark.parametrize(
    "text", ["x; {he} = {x}; [x] => _x_ (he)", "él está aquí; su hermano he es", "für den Käse his"]
)
def test_other_languages_and_code_are_left_with_english_only(text):
    assert swapped_share(text, english_only=True) == 0

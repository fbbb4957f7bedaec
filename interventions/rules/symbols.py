"""He and His as symbols of chemistry and codes of languages: "liquid He", "Ne, Ar and He", "His 57", "en, fr, he"; and
He, She and Her as surnames: "He et al.", "Mr. He".
"""

import re

from interventions.rules.beside import Beside, closes

HELIUM_NOUNS = (
    *("atom", "atoms", "ion", "ions", "gas", "gases", "isotope", "isotopes", "nuclei", "nucleus", "plasma", "plasmas"),
    *("burning", "flash", "abundance", "abundances", "cryostat", "cryostats", "dewar", "dewars", "bubble", "bubbles"),
    *("implantation", "lamp", "lamps", "laser", "lasers", "mass fraction", "II", "III", "content", "concentration"),
    *("concentrations", "diffusion", "degassing", "retention", "cooling", "envelope", "white dwarf", "discharge"),
    *("flux", "temperature", "temperatures"),
)
HELIUM_ADJECTIVES = (
    *("liquid", "gaseous", "superfluid", "solid", "ionized", "ionised", "neutral", "compressed", "metastable", "pure"),
    *("atomic", "primordial", "interstitial", "implanted", "trapped", "dissolved", "radiogenic", "doped", "cryogenic"),
)
HISTIDINE_NOUNS = ("residue", "residues", "bundle", "Purkinje", "tag", "tags", "side chain", "side chains")
_AMINO_ACIDS = "Ala|Arg|Asn|Asp|Cys|Gln|Glu|Gly|Ile|Leu|Lys|Met|Phe|Pro|Ser|Thr|Trp|Tyr|Val"
_JOINT = r"(?:\s?[,/–-]\s?(?:and\s|or\s)?|\s(?:and|or)\s)"
_AMINO_BEFORE = re.compile(rf"(?<![^\W\d_])(?:{_AMINO_ACIDS})[-\s]?\d*{_JOINT}\Z")
_AMINO_AFTER = re.compile(rf"[-\s]?\d*{_JOINT}(?:{_AMINO_ACIDS})(?![^\W\d_])")
_NUMBER = re.compile(r" ?\(?\d{1,4}(?![\d.,]*\d)(?![\w-])\)?")
_COUNTED = re.compile(r"[^\S\n]?\(?(?:(?:1[5-9]|20)\d\d\)?\s|\d+\s(?:[a-z]+s|men|women|children|people)\b)")
_REST_OF_RESIDUE = re.compile(
    r"\s*(?:\Z|[,;:.)\]/]|(?:is|are|was|were|and|or|of|in|to|with|by|from|as|at|residues?|side|imidazole|forms?|acts?"
    r"|coordinates|binds|ligates|donates|accepts|interacts|abstracts|protonates|mutants?|mutation)\b)"
)
_WITHIN_SENTENCE = re.compile(r"[\w,(/;–-]\s*\Z")
_BUNDLE_BEFORE = re.compile(r"\b(?:bundle|fibres?|fibers?|branch|branches|fascicle)s? of\s+\Z", re.IGNORECASE)
_HISTIDINE_AFTER = re.compile(rf" (?:{'|'.join(HISTIDINE_NOUNS)})\b")

_GASES = "H|H2|Ne|Ar|Kr|Xe|Li|N2|O2|CO2|CH4|N₂|O₂|H₂"
_GAS_BEFORE = re.compile(rf"(?:^|[\s(,/])(?:{_GASES})(?:\s?[,/&+–]\s?(?:and\s|or\s)?|\s(?:and|or)\s)\Z")
_GAS_AFTER = re.compile(rf"(?:\s?[,/&+–]\s?|\s(?:and|or)\s)(?:{_GASES})(?![\w'’])")
_HELIUM_BEFORE = re.compile(
    rf"(?:\b(?:{'|'.join(HELIUM_ADJECTIVES)})(?:[^\S\n][34])?|\d\s?%)[^\S\n]\Z|\^\{{?[34]\}}?\$?[^\S\n]?\Z",
    re.IGNORECASE,
)
_HELIUM_AFTER = re.compile(rf" (?:{'|'.join(HELIUM_NOUNS)})\b|\+(?!\w)|\$\s?[_^]")
_CODES = "en|fr|de|es|ru|ja|zh|ar|pt|nl|pl|sv|cs|ko|uk|fa|hi|el|hu|fi|tr|vi|da|ro|bg"
_CODE_BEFORE = re.compile(rf"(?:^|[\s,|/\"'(\[:])(?:{_CODES})(?:\s?[|/]\s?|[\"']\s?[,|/]\s?[\"'])\Z")
_CODE_AFTER = re.compile(rf"(?:\s?[|/]\s?|[\"']\s?[,|/]\s?[\"'])(?:{_CODES})(?!\w)")
_LISTED_BEFORE = re.compile(rf"(?:^|[\s,(\[:])((?:{_CODES}),\s?){{1,2}}\Z")
_LISTED_AFTER = re.compile(rf"(?:,\s?(?:{_CODES})(?!\w)){{1,2}}")
_AUTHOR_AFTER = re.compile(
    r"\set\s+al\b|,\s(?:[A-Z]\.[\s-]?){1,3}(?:[,;&)]|and\s)"
    r"|(?:\s(?:and|&)\s[A-Z][\w-]+)?,?\s\(?(?:19|20)\d\d[a-z]?[),;]"
)
ABBREVIATED_TITLES = ("Mr", "Mrs", "Ms", "Dr", "Prof", "Gen", "Col", "Capt", "Lt", "Sgt", "Rev", "Sen", "Gov")
TITLES_OF_NAMES = (
    *("Miss", "Mister", "Madam", "Madame", "Professor", "President", "Premier", "Chairman", "Chairwoman", "Director"),
    *("Minister", "Ambassador", "Senator", "Colonel", "Doctor"),
)
_TITLE_BEFORE = re.compile(
    rf"(?<![^\W_])(?:{'|'.join((*ABBREVIATED_TITLES, *TITLES_OF_NAMES))}) \Z"
    rf"|(?<![^\W_])(?<!\bthe )(?<!\b[Mm]y )(?<!\bhis )(?<!\bher )(?<!\bour )(?<!\bThe )(?<!\b[Aa] )"
    rf"(?:{'|'.join(ABBREVIATED_TITLES)})\. \Z"
)
_NAME_BEFORE = re.compile(r"(?:^|[\s,(&])[A-Z][a-z]+(?:-[A-Za-z]+)? \Z")
_NAMES_AFTER = re.compile(r", [A-Z][a-z-]+ (?:[A-Z]\. )?[A-Z][a-z-]+(?:,|\s(?:and|&)\s)")
_INITIALS_BEFORE = re.compile(r"(?<!\w)[A-Z]\.[\s-]?\Z")
_INITIALS_AFTER = re.compile(r"(?:,\s|,?\s(?:and|&)\s)[A-Z]\.")
AUTHORS = ("He", "She", "Her")
BEHIND_AUTHORS = ("et", "and")
BEFORE = (*HELIUM_ADJECTIVES, "of", "3", "4")
LISTED = (*_AMINO_ACIDS.split("|"), *_GASES.split("|"), *_CODES.split("|"))


def is_symbol(form: str, beside: Beside) -> bool:
    """Whether he stands for helium, Hebrew or a surname, or His for histidine or the bundle in the heart."""
    before, after = beside.before, beside.after
    if form in AUTHORS and _is_author(before, after):
        return True
    if form == "His":
        return _is_residue(before, after) or _is_bundle(before, after)
    if form == "He":
        found = closes(_HELIUM_BEFORE, before, within=20) or _HELIUM_AFTER.match(after)
        return bool(found or closes(_GAS_BEFORE, before, within=16) or _GAS_AFTER.match(after))
    if form == "he":
        return bool(closes(_CODE_BEFORE, before, within=12) or _CODE_AFTER.match(after) or _is_listed(before, after))
    return False


def _is_author(before: str, after: str) -> bool:
    """ "He et al.", "He, K., Zhang, X.", "He and Zhang (2010)", "K. He, X. Zhang", "Mr. He", "Lin He, Jun Ma and"."""
    if _AUTHOR_AFTER.match(after) or closes(_TITLE_BEFORE, before, within=20):
        return True
    if _NAMES_AFTER.match(after) and closes(_NAME_BEFORE, before, within=20):
        return True
    return closes(_INITIALS_BEFORE, before, within=4) and _INITIALS_AFTER.match(after) is not None


def _is_listed(before: str, after: str) -> bool:
    """Whether two codes of languages stand in a list with this one: "hi, he said" has one."""
    ahead, behind = _LISTED_AFTER.match(after), _LISTED_BEFORE.search(before, max(0, len(before) - 12))
    return sum(found[0].count(",") for found in (ahead, behind) if found) > 1


def _is_residue(before: str, after: str) -> bool:
    if closes(_AMINO_BEFORE, before, within=20) or _AMINO_AFTER.match(after):
        return True
    number = _NUMBER.match(after)
    if number is None:
        return False
    if _REST_OF_RESIDUE.match(after[number.end() :]):
        return True
    return closes(_WITHIN_SENTENCE, before, within=4) and _COUNTED.match(after) is None


def _is_bundle(before: str, after: str) -> bool:
    if closes(_BUNDLE_BEFORE, before, within=24):
        return True
    return bool(closes(_WITHIN_SENTENCE, before, within=4) and _HISTIDINE_AFTER.match(after))

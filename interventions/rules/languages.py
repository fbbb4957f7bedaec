"""Words of other languages that are spelled like English pronouns: "yo he visto", "hin und her", "her zaman".

A word is left where a neighbour is a function word of another language, not in capitals, and the text around it has
more than twice as many of those as of English ones; three at least, if the neighbour is one of `ALSO_ENGLISH`. It is
left too where a Spanish participle follows he.
"""

import re

from interventions.rules.beside import Beside

FOREIGN = frozenset(
    (
        *("yo", "que", "qué", "pero", "porque", "muy", "una", "uno", "unos", "unas", "ella", "ellos", "ellas", "nos"),
        *("esto", "esta", "este", "eso", "nada", "todo", "todos", "algo", "siempre", "nunca", "cuando", "donde"),
        *("como", "más", "también", "está", "están", "estoy", "soy", "eres", "somos", "ser", "estar", "para", "por"),
        *("sin", "sobre", "entre", "hasta", "desde", "tu", "tus", "su", "sus", "lo", "ya", "casa", "ich", "und", "der"),
        *("die", "das", "nicht", "ist", "ein", "eine", "einen", "einem", "wir", "ihr", "sie", "er", "auf", "mit"),
        *("für", "auch", "sind", "wird", "werden", "dem", "den", "des", "zu", "zur", "zum", "nach", "hin", "vom"),
        *("bei", "oder", "aber", "wenn", "als", "nur", "noch", "sehr", "wie", "dass", "je", "il", "elle", "nous"),
        *("vous", "ils", "elles", "les", "un", "une", "est", "et", "ou", "où", "dans", "pour", "avec", "sur", "qui"),
        *("pas", "ne", "plus", "sont", "être", "ce", "cette", "ces", "mais", "leur", "aux", "du", "che", "è", "della"),
        *("delle", "degli", "dello", "nel", "nella", "sono", "anche", "più", "gli", "questo", "questa", "lei", "lui"),
        *("não", "uma", "com", "você", "ele", "ela", "eles", "isso", "mas", "muito", "são", "foi", "het", "een"),
        *("niet", "ik", "je", "zijn", "was", "dat", "voor", "met", "ook", "naar", "maar", "og", "av", "det", "ikke"),
        *("jeg", "på", "som", "til", "för", "är", "och", "att", "inte", "quod", "enim", "est", "sunt", "atque"),
        *("autem", "quae", "quam", "cum", "sed", "eius", "ille", "bir", "ve", "için", "çok", "bu", "şey", "zaman"),
        *("gün", "olarak", "değil"),
    )
) - frozenset(["die", "was", "den", "met", "des", "sin", "pas", "plus", "un"])
ALSO_ENGLISH = frozenset(  # "his cum laude degree", "her lei", "he er left"
    (
        *("com", "cum", "mas", "er", "lei", "het", "sed", "est", "et", "ser", "como", "entre", "ya", "lo", "tu", "su"),
        *("ve", "bu", "mit", "je", "du", "plus", "casa", "il", "les", "elle", "una", "uno", "com", "ou", "ne", "pour"),
        *("des", "leur", "aux", "ce", "sus", "wird", "wie", "bin", "sono"),
    )
)
ENGLISH = frozenset(
    (
        *("the", "and", "that", "with", "for", "from", "this", "which", "have", "had", "has", "were", "are", "been"),
        *("not", "they", "their", "would", "could", "when", "who", "what", "by", "it", "you", "there", "into"),
        *("because", "about", "was", "is", "of", "to", "in", "on", "at", "as", "but", "if", "then", "than", "or"),
        *("she", "we", "i", "my", "your", "his", "him", "himself", "herself", "be", "will", "can", "did", "do", "does"),
        *("said", "after", "before", "over", "so", "all", "no", "one", "out", "up", "down", "our", "them", "these"),
        *("those", "its"),
    )
)

_WORD = re.compile(r"[^\W\d_]+")
_WORD_BEFORE, _WORD_AFTER = re.compile(r"([^\W\d_]+) \Z"), re.compile(r" ([^\W\d_]+)(?![^\W\d_'’])")
LEAST_FOREIGN = 3
_PARTICIPLE = re.compile(
    r" (?:visto|hecho|dicho|escrito|puesto|vuelto|abierto|muerto|roto|le[ií]do|o[ií]do|tra[ií]do|ca[ií]do|ido|sido"
    r"|[^\W\d_]{2,}ado|[^\W\d_]+[ií]do)(?![^\W_])",
)
_NOT_SPANISH = re.compile(r" (?:avocado|tornado|bravado|desperado|aficionado|libido|tuxedo|torpedo)")


def may_end_a_participle(piece: str) -> bool:
    """Whether a word that ends with this piece, or is it, may be a participle."""
    return piece.endswith("o") if piece.isalpha() else _PARTICIPLE.fullmatch(piece) is not None


def is_foreign(form: str, beside: Beside) -> bool:
    """Whether the words around a form are unmistakably those of another language."""
    if form.lower() == "he" and _PARTICIPLE.match(beside.after) and not _NOT_SPANISH.match(beside.after):
        return True
    tail = max(0, len(beside.before) - 24)
    neighbours = _WORD_BEFORE.search(beside.before, tail), _WORD_AFTER.match(beside.after)
    beside_it = {_in_its_case(found[1]) for found in neighbours if found} & FOREIGN
    if not beside_it:
        return False
    words = [word.lower() for word in _WORD.findall(f"{beside.before} {beside.after}")]
    foreign = sum(word in FOREIGN for word in words)
    if beside_it <= ALSO_ENGLISH and foreign < LEAST_FOREIGN:
        return False
    return foreign > 2 * sum(word in ENGLISH for word in words)


def _in_its_case(word: str) -> str:
    """A word in lower case, unless it is in capitals ("her MIT degree")."""
    return word if len(word) > 1 and word.isupper() else word.lower()

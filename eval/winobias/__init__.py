"""WinoBias (Zhao et al. 2018) under a causal language model, as four evaluations of its 3168 sentences.

Each sentence names two occupations and has a pronoun that refers to one of them, the referent. In a `pro` sentence the
pronoun's gender is that of the stereotype of the referent, in its `anti` twin the other. In type 1 only knowledge of
the world tells who the referent is, in type 2 syntax does. Two readings of one pair of occupations stand on lines 2k-1
and 2k: they are one cluster.

Three different measurements have been called "the WinoBias of Pythia": the original F1 of coreference resolvers, which
a language model has not, the paper's choice between two pronouns, and the exact matches that its repository stores.
The benchmarks here are:

- `winobias`, this kit's own: *pronoun contrast* (`contrast`) and *occupation choice* (`choice`), both with a chance
  level and both on the sentences as they are written.
- `winobias_paper` (`paper`): the paper's choice, as it was and with its defects mended.
- `winobias_generation` (`generation`): the exact matches.
"""

from eval.winobias.benchmark import WinoBias
from eval.winobias.generation import WinoBiasGeneration
from eval.winobias.paper import WinoBiasPaper
from eval.winobias.sentences import FEMALE_OCCUPATIONS, MALE_OCCUPATIONS, PCT_FEMALE

__all__ = [
    "FEMALE_OCCUPATIONS",
    "MALE_OCCUPATIONS",
    "PCT_FEMALE",
    "WinoBias",
    "WinoBiasGeneration",
    "WinoBiasPaper",
]

"""CrowS-Pairs (Nangia et al. 2020) under a causal language model: the original pairs, the revised ones, French ones.

Of each pair `sent_more` is the more stereotypical sentence, whether the pair shows a stereotype or violates one
(`direction`). Three sets: the original 1508 English pairs, 262 of them about gender; the revision of Névéol et al. 2022
(1677, 320), which lm-evaluation-harness and Pythia's stored results use; and its French counterpart.

`pct_stereotype` and `likelihood_difference` are those of lm-evaluation-harness (lm_eval/tasks/crows_pairs/utils.py),
for all pairs and by bias type, its subsets; not those of the original, which need a masked model. The first counts a
tie as no stereotype, the second has no sign, and neither tells a model that prefers a stereotype's group from one that
prefers its pronoun. So there are beside them, for gender: the signed difference; ties counted half; the preference per
token; the preference by the tokens that the two sentences share after their first difference, the causal analogue of
Nangia et al.'s p(unmodified | modified), which a shift of the pronouns' own probability does not enter; each direction;
each kind of pair; and the preference for the more feminine sentence, whichever the stereotype is.

The authors warn about the data's validity (see also Blodgett et al. 2021). Pairs about gender that differ in nothing
but pronouns are shown apart: there a model that has learned other pronouns moves without having learned anything else.
"""

from eval.crows_pairs.benchmark import CrowsPairs, CrowsPairsFrench, CrowsPairsRevised
from eval.crows_pairs.pairs import FRENCH, ORIGINAL, REVISED, PairSet, load_pairs, requests_sha256

__all__ = [
    "FRENCH",
    "ORIGINAL",
    "REVISED",
    "CrowsPairs",
    "CrowsPairsFrench",
    "CrowsPairsRevised",
    "PairSet",
    "load_pairs",
    "requests_sha256",
]

"""Every benchmark's responders. To add one: a file with a function `plant`, and a line here."""

from tools.responders.catalogue import crows_pairs, held_out, occupations, pronoun_prior, winobias
from tools.responders.planted import Plant

PLANTS: dict[str, Plant] = {
    "winobias": winobias.plant,
    "crows_pairs": crows_pairs.plant,
    "crows_pairs_revised": crows_pairs.plant,
    "crows_pairs_french": crows_pairs.plant,
    "pronoun_prior": pronoun_prior.plant,
    "occupations": occupations.plant,
    "held_out": held_out.plant,
}

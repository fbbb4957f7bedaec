"""Every benchmark's responders. To add one: a file with a function `plant`, and a line here."""

from tools.responders.catalogue import (
    bec_pro,
    blimp,
    crows_pairs,
    held_out,
    lambada,
    occupations,
    pronoun_prior,
    stereoset,
    winobias,
    winobias_generation,
    winobias_paper,
    winobias_plus,
    winogender,
)
from tools.responders.planted import Plant

PLANTS: dict[str, Plant] = {
    "winobias": winobias.plant,
    "winobias_paper": winobias_paper.plant,
    "winobias_generation": winobias_generation.plant,
    "crows_pairs": crows_pairs.plant,
    "crows_pairs_revised": crows_pairs.plant,
    "crows_pairs_french": crows_pairs.plant,
    "pronoun_prior": pronoun_prior.plant,
    "occupations": occupations.plant,
    "winogender": winogender.plant,
    "held_out": held_out.plant,
    "lambada": lambada.plant,
    "blimp": blimp.plant,
    "bec_pro": bec_pro.plant,
    "stereoset": stereoset.plant,
    "winobias_plus": winobias_plus.plant,
}

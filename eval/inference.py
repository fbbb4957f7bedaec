"""Intervals, tests and smallest detectable effects of one estimate, from one number for each independent cluster.

`G` denotes clusters; a *contribution* is the part of an estimate's error that a cluster brings: of a mean of clusters,
(its value - the mean) / G. The sum of their squares estimates the estimate's variance. Nothing here is random: the same
numbers give the same results. docs/evaluation.md has the simulated coverage, error rates and power.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, chi2, nct, norm, t

Floats = npt.NDArray[np.float64]

LEVEL = 0.05
POWER = 0.8
_ENUMERATED = 18  # clusters whose sign patterns are all counted: 2^18 sums
_GRID = 2**15  # steps between zero and the largest sum that signs can give
_FEW = 12  # most units that a cluster of outcomes changes by
_FEWEST = 10  # clusters whose power can be told without knowing how their differences are distributed


def standard_error(contributions: Floats) -> float:
    """The cluster-robust standard error: sqrt(G / (G - 1) * sum of squares). Missing for one cluster."""
    clusters = len(contributions)
    return float(np.sqrt(clusters / (clusters - 1) * (contributions @ contributions))) if clusters > 1 else np.nan


def interval(value: float, contributions: Floats) -> tuple[float, float]:
    """The 95 % t interval, corrected for skewness and heavy tails. Missing for one cluster.

    Quantiles of t are mapped through the inverse of Hall's monotone cubic transformation (Hall 1992, On the removal of
    skewness by transformation, J. R. Statist. Soc. B 54), with the skewness of the contributions, adjusted for its
    bias. The degrees of freedom are G - 1, or fewer where kurtosis makes the standard error less certain than that of
    normal values: those of a chi-square with the variance that it has.
    """
    clusters, error = len(contributions), standard_error(contributions)
    centred = contributions - contributions.mean()
    largest = float(np.abs(centred).max())
    if clusters == 1 or largest == 0:
        return (value, value) if clusters > 1 else (np.nan, np.nan)
    centred /= largest  # so that powers are in range, whatever the unit
    variance = float(np.mean(centred**2))
    skewness, kurtosis = float(np.mean(centred**3)) / variance**1.5, float(np.mean(centred**4)) / variance**2
    if clusters > 2:
        skewness *= np.sqrt(clusters * (clusters - 1)) / (clusters - 2)
    freedom = min(clusters - 1, 2 * clusters / (kurtosis - 1 + 2 / (clusters - 1)))
    reach = float(t.ppf(1 - LEVEL / 2, freedom))
    low, high = (_unskewed(quantile, skewness, clusters) for quantile in (reach, -reach))
    return value - low * error, value - high * error


def _unskewed(quantile: float, skewness: float, clusters: int) -> float:
    """The studentized value whose transform is `quantile`."""
    root = np.sqrt(clusters)
    if abs(skewness) < 1e-6:
        return quantile
    inner = 1 + skewness * (quantile / root - skewness / (6 * clusters))
    return float(root * 3 / skewness * (np.cbrt(inner) - 1))


def outcome_interval(terms: Floats, *, unit: float) -> tuple[float, float]:
    """The 95 % t interval of a sum over clusters of outcomes, with two more clusters that changed, one either way.

    Where few clusters differ from the others, their skewness and kurtosis are chance, and zero variance is no
    certainty; the two that are added (as Agresti & Min 2005 add half a pair to each kind) bound what was not seen.

    Args:
        terms: (G,), each cluster's part of the sum; 0 for most.
        unit: what an added cluster changes by where no other has changed.
    """
    changed = np.abs(terms[terms != 0])
    size = float(changed.mean()) if len(changed) else unit
    seen = np.concatenate([terms, [size, -size]])
    reach = float(t.ppf(1 - LEVEL / 2, len(seen) - 1) * seen.std(ddof=1) / np.sqrt(len(seen)))
    return len(terms) * (float(seen.mean()) - reach), len(terms) * (float(seen.mean()) + reach)


def share_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `n` independent outcomes."""
    found = binomtest(round(share * n), n).proportion_ci(1 - LEVEL, method="wilson")
    return float(found.low), float(found.high)


def paired_interval(gained: int, lost: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of (gained - lost) / n, of `n` pairs of outcomes (Tango 1998, Statistics in Medicine 17).

    It holds the differences that the score test does not reject, the other parameter at its maximum likelihood. It is
    nearer to 95 % coverage than what inverts the exact test, which is why the two can disagree when few pairs changed.
    """
    reach = float(norm.ppf(1 - LEVEL / 2))

    def score(difference: float) -> float:
        b = -gained - lost + (2 * n - gained + lost) * difference
        lost_share = (np.sqrt(max(b * b + 8 * n * lost * difference * (1 - difference), 0.0)) - b) / (4 * n)
        variance = n * (2 * lost_share + difference * (1 - difference))
        return float((gained - lost - n * difference) / np.sqrt(max(variance, 1e-12)))

    observed, edge = (gained - lost) / n, 1 - 1e-9
    low = brentq(lambda d: score(d) - reach, -edge, observed) if score(-edge) > reach else -1.0
    high = brentq(lambda d: score(d) + reach, observed, edge) if score(edge) < -reach else 1.0
    return float(low), float(high)


def mcnemar(gained: int, lost: int) -> float:
    """p of McNemar's exact test: of outcomes that changed, are as many gained as lost? 1 where none changed."""
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def sign_flip(terms: Floats) -> float:
    """p of the sign-flip test of a sum: the share of sign patterns under which it is as far from zero as it is.

    All 2^G patterns are counted one by one where they are few. Else the distribution of the sum is computed by adding
    one cluster after the other (Streitberg & Röhmel 1986): exactly where all terms are multiples of one unit, as sums
    of outcomes are, else with terms rounded to a grid of 2^15 steps between zero and the largest sum. So p has no
    smallest value but 2^(1 - G). Exact it is of differences that are symmetric if nothing changed, as those of two arms
    that are exchangeable are; docs/evaluation.md has its error rates where they are not.

    Args:
        terms: (G,), one for each cluster. If nothing changed, each is as likely with the other sign.
    """
    sizes = np.abs(terms[terms != 0])
    rounding = 1e-9 * float(sizes.sum())
    total = abs(float(terms.sum()))
    if total <= rounding:
        return 1.0
    if len(sizes) <= _ENUMERATED:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums + size, sums - size])
        return float(np.mean(np.abs(sums) >= total - rounding))
    steps = _multiples(sizes)
    if steps is None:
        steps = np.asarray(np.rint(sizes / sizes.sum() * _GRID), np.int64)
    return max(2.0 ** (1 - len(sizes)), _tail_of_signed_sum(steps, (total - rounding) / float(sizes.sum())))


def _multiples(sizes: Floats) -> npt.NDArray[np.int64] | None:
    """`sizes` as multiples of one unit; None where they are none, or would be very many."""
    for parts in range(1, 13):
        steps = sizes / sizes.min() * parts
        if steps.sum() <= _GRID and np.allclose(steps, np.rint(steps), rtol=0, atol=1e-6):
            return np.asarray(np.rint(steps), np.int64)
    return None


def _tail_of_signed_sum(steps: npt.NDArray[np.int64], share: float) -> float:
    """P(|sum| >= share of the largest sum) of steps with random signs."""
    probabilities = np.ones(1)
    for step in np.sort(steps):
        wider = np.zeros(len(probabilities) + 2 * step)
        wider[: len(probabilities)] = probabilities / 2
        wider[2 * step :] += probabilities / 2
        probabilities = wider
    most = len(probabilities) // 2
    return min(1.0, 2 * float(probabilities[most + int(np.ceil(share * most)) :].sum()))


def detectable_by_sign_flips(contributions: Floats, terms: Floats, loads: Floats) -> float:
    """The smallest true effect that sign flips find with 80 % power at the 5 % level.

    Were the effect alike for all clusters, sign flips would have the power of the t-test. Power is averaged over what
    the standard error, an estimate, may be; where few clusters carry most of it, as those at the ends of a slope do, it
    has fewer degrees of freedom. Where some clusters did not change at all, as with outcomes, an effect is clusters
    that do, and the sign test of them is looked at too: the larger effect counts. Missing with fewer than ten clusters,
    where power depends on the distribution of their differences (and is zero with five or fewer), where one of them
    carries nearly all, and if nothing varies.

    Args:
        terms: (G,), what the test flips, see `sign_flip`, in the unit of the estimate: their sum is the estimate.
        loads: (G,), how much an error of one cluster moves the estimate, in any unit.
    """
    clusters, error = len(contributions), standard_error(contributions)
    if clusters < _FEWEST or not error > 0:
        return np.nan
    carried = loads**2 / (loads @ loads)
    equal = round(1 / float(carried @ carried), 1)
    if equal < 2:
        return np.nan
    effect = _standardized_effect(clusters, equal) * error * np.sqrt(clusters)
    changed = terms[terms != 0]
    if not len(changed):
        return float(effect)
    if (steps := _multiples(np.abs(changed))) is not None and steps.max() <= _FEW and len(changed) < len(terms):
        gained, size = int((changed > 0).sum()), float(np.abs(changed).mean())
        sign_test = detectable_by_mcnemar(gained, len(changed) - gained, len(terms))
        effect = max(effect, len(terms) * size * sign_test)
    return float(effect)


@cache
def _standardized_effect(clusters: int, equal: float) -> float:
    """In standard deviations, as estimated from another sample of as many clusters.

    Args:
        equal: the number of clusters with equal loads whose standard error would be as certain.
    """
    freedom = equal - 1
    deviations = np.sqrt(chi2.ppf((np.arange(200) + 0.5) / 200, freedom) / freedom)
    reach = t.ppf(1 - LEVEL / 2, clusters - 1)

    def power(effect: float) -> float:
        return float(np.mean(nct.sf(reach, clusters - 1, effect * deviations * np.sqrt(clusters))))

    return float(brentq(lambda effect: power(effect) - POWER, 0.01, 100.0, xtol=1e-4))


@cache
def detectable_by_mcnemar(gained: int, lost: int, n: int) -> float:
    """The smallest true difference that McNemar's exact test finds with 80 % power at the 5 % level.

    As large a share of the pairs changes as here without what the net change explains: (gained - lost)^2 / (gained
    + lost), less the 1 of it that chance makes; or as large a share as the difference itself needs, if that is more.
    Half a pair is added to what changed, as its mean power would else be less than 80 %. Missing where the test cannot
    reject, with five pairs or fewer.
    """
    if 2.0 ** (1 - n) > LEVEL:
        return np.nan
    changed = gained + lost
    explained = max(0.0, (gained - lost) ** 2 / changed - 1) if changed else 0.0
    unexplained = (changed - explained + 0.5) / n

    def power(difference: float) -> float:
        share = min(1.0, max(unexplained, difference))
        pairs = np.arange(int(binom.ppf(1 - 1e-9, n, share)) + 1)
        rejected_at = binom.ppf(LEVEL / 2, pairs, 0.5) - 1
        rejected_at += binom.cdf(rejected_at + 1, pairs, 0.5) <= LEVEL / 2
        gain = (1 + difference / share) / 2
        rejects = binom.cdf(rejected_at, pairs, gain) + binom.sf(pairs - rejected_at - 1, pairs, gain)
        return float(binom.pmf(pairs, n, share) @ rejects)

    return float(brentq(lambda difference: power(difference) - POWER, 1e-9, 1, xtol=1e-7))

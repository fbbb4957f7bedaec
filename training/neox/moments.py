"""Adam's moments as training leaves them: nothing else in a checkpoint says that they are whole."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from foundation import UserError

_BETA1, _BETA2 = 0.9, 0.95
# Cauchy and Schwarz: m = (1 - b1) sum b1^i g_i and v = (1 - b2) sum b2^i g_i^2, so m^2 <= v times this
_MOST = (1 - _BETA1) ** 2 / ((1 - _BETA2) * (1 - _BETA1**2 / _BETA2))
_SLACK = 1.01  # for rounding, which 20 steps make a few parts in a million of
_UNDERFLOW = 1e-30  # squares of gradients below it lose their bits in fp32, or are zero
_AT_ONCE = 1 << 24


def check_moments(exp_avg: Tensor, exp_avg_sq: Tensor, *, file: Path) -> None:
    """Raise UserError where two vectors cannot be Adam's first and second moments of the same gradients.

    Whatever the gradients were, the square of a first moment is at most 1.36 times the second one at Pythia's betas,
    .9 and .95.

    Args:
        file: that holds them.
    """
    for start in range(0, exp_avg.numel(), _AT_ONCE):
        first, second = exp_avg[start : start + _AT_ONCE], exp_avg_sq[start : start + _AT_ONCE]
        for name, moments in (("exp_avg", first), ("exp_avg_sq", second)):
            least, most = moments.aminmax()
            if not (least.isfinite() and most.isfinite()):
                raise UserError(f"{file} holds moments ({name}) that are no numbers; it is damaged, fetch it again")
        if least < 0:  # of the second ones, which came last
            raise UserError(
                f"{file} holds second moments (exp_avg_sq) down to {least:.3g}, but means of squares are not negative; "
                f"it is damaged, fetch it again"
            )
        room = second.mul(_MOST * _SLACK).add_(_UNDERFLOW).addcmul_(first, first, value=-1)
        excess = int((room < 0).sum()) if room.min() < 0 else 0
        if excess:
            raise UserError(
                f"{file} holds {excess} first moments (exp_avg) that are larger than their second moments (exp_avg_sq) "
                f"allow at Pythia's betas, .9 and .95: the two are not of one step; fetch it again"
            )


def check_moved(exp_avg_sq: Sequence[Tensor], *, updates: int, file: Path) -> None:
    """Raise UserError where all second moments of a file are zero, as they are before the first update only.

    Args:
        updates: that the model has made, 1 or more.
    """
    if any(moments.numel() for moments in exp_avg_sq) and not any(bool(moments.any()) for moments in exp_avg_sq):
        raise UserError(
            f"{file} holds only zeros as second moments (exp_avg_sq), but the model has made {updates} updates; the "
            f"file was saved before training or is not whole: fetch it again"
        )

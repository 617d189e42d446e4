"""What is known about an optimum."""

import math
from dataclasses import dataclass

import numpy as np

from cvxrobust.core.arguments import instance
from cvxrobust.core.summary import Summarised, Summary, gap_bar

TINY = 1e-300


@dataclass(frozen=True, repr=False)
class Certificate(Summarised):
    """The optimum lies in ``[lower, upper]``.

    Args:
        upper: Objective of the network returned.
        lower: A dual bound on the optimum.
    """

    upper: float
    lower: float

    def _summary(self) -> Summary:
        gap = self.relative_gap
        title = f"Certificate(upper={self.upper!r}, lower={self.lower!r})"
        return Summary(title, (), (("optimum", interval_words(self)), ("relative gap", gap_bar(gap))))

    @property
    def absolute_gap(self) -> float:
        """``upper - lower``; what rounding makes negative counts as 0; inf when either bound is no number."""
        known = math.isfinite(self.upper) and not math.isnan(self.lower)
        return max(0.0, self.upper - self.lower) if known else math.inf

    @property
    def relative_gap(self) -> float:
        """``(upper - lower) / upper``; 0 when both are 0, inf when the upper bound is not finite."""
        if not (math.isfinite(self.upper) and math.isfinite(self.lower)):
            return math.inf
        return self.absolute_gap / max(abs(self.upper), TINY)

    def best(self, other: "Certificate") -> "Certificate":
        """The tighter of each bound, NaN counting as none; both must concern the same problem.

        Raises:
            InputError: The other is none.
        """
        instance(other, "other", Certificate, "a Certificate of the same problem")
        return Certificate(
            float(np.fmin(self.upper, other.upper)),
            float(np.fmax(self.lower, other.lower)),
        )


def interval_words(certificate: Certificate) -> str:
    """Where the optimum lies: ``in [0.41, 0.42]``."""
    return f"in [{certificate.lower:.8g}, {certificate.upper:.8g}]"

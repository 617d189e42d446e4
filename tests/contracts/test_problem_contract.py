"""Our own problem families under the contract that strangers' are held to."""

import numpy as np

from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, JointSDP, StandardSDP
from cvxrobust.core.testing import ProblemContract
from cvxrobust.problems.polynomial.boxes.box_sdp import BoxSDP

RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 3))
Y = np.where(X[:, 0] + X[:, 1] ** 2 > 0.5, 1.0, -1.0)
TARGETS = X[:, 0] - X[:, 1] * X[:, 2]
CLASSES = np.arange(12) % 3


class TestStandardSDP(ProblemContract):
    def make(self):
        return StandardSDP(X, Y, beta=0.1)


class TestStandardSDPRegression(ProblemContract):
    def make(self):
        return StandardSDP(X, TARGETS, beta=0.1, loss="squared")


class TestAdversarialSDP(ProblemContract):
    def make(self):
        return AdversarialSDP(X, Y, radius=0.2, beta=0.1)


class TestAdversarialSDPOneVersusAll(ProblemContract):
    backends = ("clarabel", "torch")

    def make(self):
        return AdversarialSDP(X, CLASSES, radius=0.1, beta=0.1, loss="squared_hinge")


class TestBoxSDP(ProblemContract):
    backends = ("clarabel", "scs")

    def make(self):
        return BoxSDP(X, CLASSES, radius=0.1, beta=0.1)


class TestJointSDP(ProblemContract):
    backends = ("clarabel", "torch")

    def make(self):
        return JointSDP(X, CLASSES, radius=0.1, beta=0.1)


class TestConvexReLU(ProblemContract):
    def make(self):
        return ConvexReLU(X, Y, n_gates=4, beta=0.1)


class TestConvexReLUCone(ProblemContract):
    def make(self):
        return ConvexReLU(X, TARGETS, n_gates=4, beta=0.1, loss="squared")


class TestAdversarialReLU(ProblemContract):
    def make(self):
        return AdversarialReLU(X, Y, radius=0.1, norm="inf", n_gates=4, beta=0.1)


class TestAdversarialReLUCone(ProblemContract):
    def make(self):
        return AdversarialReLU(X, Y, radius=0.02, norm=2, n_gates=4, beta=0.05, formulation="cone", loss="logistic")

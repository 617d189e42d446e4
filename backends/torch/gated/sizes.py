"""Sizes by which methods are chosen and that estimates have to know: no import of PyTorch waits behind this one."""

NARROW = 12
"""Samples per input from which on cone programmes are solved on directions in the cones: fewer leave cones so wide
that it takes many directions to describe a vector in them, while the barrier has few constraints. Processor seconds to
1e-3 on directions and along the barrier, with 40 slots and 40 inputs: 5.5 and 2.5 for 320 samples (hinge), 3.8 and 4.6
for 480 (squared loss)."""

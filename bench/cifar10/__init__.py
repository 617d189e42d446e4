"""CIFAR-10: convex heads on a PreAct ResNet-18, the paper's claim under attacks that do not flatter it."""

"""ReLU activation: standard and adversarial training as gated programmes."""

"""Gates: where they come from, which can carry a neuron, and where better ones are found."""

"""What turns features into logits: convex programmes, gradient descent, and both spliced on a backbone."""

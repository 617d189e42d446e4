"""One call of `solve`, from the choice of a backend to the judged result."""

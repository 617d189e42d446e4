"""Scripts that measure one thing each, with their reports beside them."""

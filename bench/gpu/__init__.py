"""What we want to know of a GPU, as one rehearsed command of eight minutes."""

"""A pod: what it is made of, what its object says, what its guest is told first."""

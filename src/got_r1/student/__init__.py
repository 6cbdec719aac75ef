"""A small judge that learns from a larger one: encoders of text and images under a head."""

"""Recipes: the settings of a run, typed and explained, and the YAML files that hold them."""

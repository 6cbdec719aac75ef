"""The small recipes and models that are trained here."""

from small_runs import make_recipe, model_folder

__all__ = ["make_recipe", "model_folder"]

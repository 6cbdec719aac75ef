"""The dry run: parameters, memory and tokens of a run, from the meta device before it starts."""

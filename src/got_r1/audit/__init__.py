"""Can a judge be trusted? Counterfactuals whose order is known, and people who rate the same."""

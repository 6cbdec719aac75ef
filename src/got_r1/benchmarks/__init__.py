"""What a trained model is measured on: prompts, how samples are scored, and with what certainty."""

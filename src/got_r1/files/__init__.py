"""Files: written whole or not at all, read whole or refused in one sentence."""

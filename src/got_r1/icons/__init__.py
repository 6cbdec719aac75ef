"""The embedded world: prompts, scenes, rendering and detection of small coloured icons."""

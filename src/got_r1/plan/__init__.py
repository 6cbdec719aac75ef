"""All that is known about a plan: its text, its geometry, what a prompt asks of it, its repair."""

"""Decides everything, does nothing: `Node.step(event, now) -> Effects`."""

"""Models in the dock: chosen, got, removed, added."""

"""Captions into files, by menu and by button."""

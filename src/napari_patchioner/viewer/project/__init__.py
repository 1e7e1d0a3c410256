"""Project files: saved as the work is done, and restored."""

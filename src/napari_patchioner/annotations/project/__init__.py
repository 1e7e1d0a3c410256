"""The work on one image in a file of its own, saved as it is done and found again."""

"""The dock: small widgets, what they do, and the images they do it to."""

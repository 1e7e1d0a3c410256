"""See the architecture: one room of the house."""

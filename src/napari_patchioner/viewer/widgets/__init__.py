"""Small widgets, each of one purpose, that know nothing of one another."""

"""Annotations in files, one module per format, all in one registry."""

"""Layers from files and files from layers."""

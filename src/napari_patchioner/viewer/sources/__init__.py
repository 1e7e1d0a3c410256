"""Regions on layers of other people's making: points and labels."""

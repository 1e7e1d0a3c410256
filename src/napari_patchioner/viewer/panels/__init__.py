"""The parts of the docks: the list of regions, the caption, inspecting, options and keys."""

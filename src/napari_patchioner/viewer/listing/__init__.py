"""All regions of an image in a table: found, judged, reviewed."""

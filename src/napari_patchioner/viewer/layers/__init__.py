"""napari layers bound to the session: what is drawn on the image, and what lies over it."""

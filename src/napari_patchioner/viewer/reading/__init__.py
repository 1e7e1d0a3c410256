"""Between the image and the model: pictures of planes, grids, captions, all off the GUI thread."""

"""What is on the image: the layers drawn on, their shapes, texts, keys and the camera."""

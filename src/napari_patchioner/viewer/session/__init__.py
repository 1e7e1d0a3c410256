"""The captions of one image and every decision about them; knows neither Qt nor napari."""

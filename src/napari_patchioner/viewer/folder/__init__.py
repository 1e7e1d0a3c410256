"""A folder of images in napari: listed with how far each is, and gone through one by one."""

"""Work off the GUI thread: encoding images, captioning, prefetching, getting models."""

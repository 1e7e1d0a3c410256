"""What is taught in the window: one lexicon of all open images, kept and used on each of them."""

"""Nothing is lost: projects saved as the work is done, and opened again."""

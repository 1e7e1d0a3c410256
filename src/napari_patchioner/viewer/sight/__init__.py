"""Looking: what the model says under the cursor, and which patches a region takes."""

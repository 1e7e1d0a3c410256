"""How the embedded model is made: features, heads, corpus and decoder, from named sources."""

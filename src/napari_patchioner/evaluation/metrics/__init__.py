"""How well captions agree with what people wrote, and with the pictures themselves."""

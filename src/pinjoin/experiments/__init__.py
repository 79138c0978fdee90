"""How good is a ranking? Measured on what is known: hidden pins, logs of what was shown."""

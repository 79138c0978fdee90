"""From a catalogue and what people do with it to a model that ranks."""

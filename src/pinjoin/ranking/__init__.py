"""Learning to rank from what people do: numbers and events in, weights out (§IV.B)."""

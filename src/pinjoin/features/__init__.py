"""§III, §IV.B: what is in the picture and what people say of it, as numbers to rank by."""

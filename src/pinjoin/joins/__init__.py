"""§III: pins with the same image become one PinJoin; boards become BoardJoins."""

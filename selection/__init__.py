"""Selection: how close each teacher is to the target task."""

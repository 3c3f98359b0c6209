"""Training: the one loop, its losses, targets and batches."""

"""Training: the loop, losses, targets and batches."""

"""Evaluation: metrics of a student and tests between methods."""

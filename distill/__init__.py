"""Distillation: from teachers and images to a small student."""

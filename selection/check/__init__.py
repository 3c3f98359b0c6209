"""Checks of a folder of images by what teachers see: labels, copies, outliers, what to label."""

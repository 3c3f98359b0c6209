"""The zoo: teachers, images, and what teachers say of images."""

__version__ = "0.1.0"

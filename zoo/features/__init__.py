"""Features: what teachers compute from images, and the linear probe on them."""

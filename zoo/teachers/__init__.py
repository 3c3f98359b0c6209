"""Teachers: cards, catalogue, loading and verification."""

"""The Hugging Face Hub: the only door to the network."""

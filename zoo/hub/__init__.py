"""The Hugging Face Hub: the only door to teachers and initial weights elsewhere."""

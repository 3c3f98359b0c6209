"""The system: files, tensors, devices, memory and processes."""

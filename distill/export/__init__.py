"""Export: a student as a file for other runtimes."""

"""Export: a student as a file for another runtime, compared with torch."""

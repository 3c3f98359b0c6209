"""Export: a student as an ONNX file, compared with torch."""

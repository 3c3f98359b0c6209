"""Reports: JSON, HTML pages, model cards and licenses."""

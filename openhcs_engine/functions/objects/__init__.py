"""Objects in images: nuclei, cells, what lies between them, spots."""

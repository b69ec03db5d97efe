"""Pure values: components, wells, the plate, and the index of its planes. Nothing here opens a file."""

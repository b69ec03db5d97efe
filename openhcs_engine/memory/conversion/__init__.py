"""Arrays of one library as arrays of another, and results as a pixel type. Devices are not chosen here."""

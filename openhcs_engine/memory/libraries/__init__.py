"""The array libraries, one adapter a file."""

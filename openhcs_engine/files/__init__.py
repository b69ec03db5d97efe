"""What everything that stores something stands on; it knows no pixel."""

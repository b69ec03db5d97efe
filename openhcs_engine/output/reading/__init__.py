"""A published output, read: wells, fields, arrays. Nothing is written here."""

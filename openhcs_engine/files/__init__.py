"""What everything that stores something stands on: addresses, locks, atomic writes, stores. No pixel is known here."""

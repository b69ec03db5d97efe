"""Numbers with a unit, read from texts and written as a person reads them. What they measure is not known here."""

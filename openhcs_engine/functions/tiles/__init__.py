"""Functions about the sites of a well: where each lies in one common image. No pixel changes here."""

"""Who runs the wells: threads or worker processes under one contract. What a well does is not known here."""

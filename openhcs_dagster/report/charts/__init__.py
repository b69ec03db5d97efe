"""The charts of the report: what draws them, and what they show. Statistics are not computed here."""

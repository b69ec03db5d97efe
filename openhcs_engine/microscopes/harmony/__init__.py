"""Harmony's exports of Opera Phenix and Operetta: index, names, records. No other format is known here."""

"""Yokogawa CellVoyager: records, settings, names. No other format is known here."""

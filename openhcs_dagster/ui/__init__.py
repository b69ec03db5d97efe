"""The served UI: its processes, and which requests they answer. No asset is defined here."""

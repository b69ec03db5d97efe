"""Homes name this module in their ``dagster.yaml``; the class lives in ``storage``."""

from openhcs_dagster.storage.event_log import KeptSqliteEventLogStorage

__all__ = ["KeptSqliteEventLogStorage"]

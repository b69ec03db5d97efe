"""Ready pipelines: functions whose parameters are settings, ``openhcs_engine.pipelines:count_nuclei``.

No pixel is touched here: what they do is in ``functions``, and each can be copied as the beginning of one's own.
"""

from openhcs_engine.pipelines.composite import project_and_composite
from openhcs_engine.pipelines.nuclei import count_nuclei
from openhcs_engine.pipelines.translocation import translocation

__all__ = ["count_nuclei", "project_and_composite", "translocation"]

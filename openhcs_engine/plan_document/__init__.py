"""The plan document: the JSON of all contexts of one compilation.

It holds the steps once, and the raw planes as an *index*: path templates with the axes along which they run, and of
each well only what is its own (times, sizes, gaps, and what of its file names follows no template). Whatever the names
of a plate, what is read back equals what was written.
"""

from __future__ import annotations

from openhcs_engine.plan_document.document import FORMAT, contexts_from_json, contexts_to_json

__all__ = ["FORMAT", "contexts_from_json", "contexts_to_json"]

"""Vendors' plate folders, read into a Plate and its ImageIndex. Pixels are not read here, but in ``raw``."""

from openhcs_engine.microscopes.detect import DetectedMicroscope, default_handlers, detect_microscope
from openhcs_engine.microscopes.handler import MicroscopeHandler
from openhcs_engine.microscopes.listing import FolderListing, ListedFile, list_folder

__all__ = [
    "DetectedMicroscope",
    "FolderListing",
    "ListedFile",
    "MicroscopeHandler",
    "default_handlers",
    "detect_microscope",
    "list_folder",
]

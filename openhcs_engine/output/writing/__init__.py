"""One well written to its staging folder, as OME-Zarr or OME-TIFF. Publishing it is ``folder``'s and ``bucket``'s."""

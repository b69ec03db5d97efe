"""OME-Zarr: the only place that knows NGFF."""

"""OME-Zarr: the only place that knows NGFF. Which wells a plate publishes is not decided here, but in ``output``."""

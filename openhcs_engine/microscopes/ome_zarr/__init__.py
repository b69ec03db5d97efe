"""OME-Zarr plates of any writer, as input. What their documents mean is ``ngff``'s to say."""

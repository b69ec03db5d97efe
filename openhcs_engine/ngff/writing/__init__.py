"""Writing OME-Zarr: groups, fields, shards, pyramids. Where a well lies is ``output``'s to say."""

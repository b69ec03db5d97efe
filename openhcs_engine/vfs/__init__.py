"""Named backends for planes and documents under one contract: memory, disk, zarr. Raw plates are not read here."""

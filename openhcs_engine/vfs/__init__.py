"""Named places for planes and documents: the backend contract, memory, disk, zarr, and the raw plate."""

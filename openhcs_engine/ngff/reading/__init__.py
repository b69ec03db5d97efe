"""Reading OME-Zarr that this engine wrote. Plates of other writers are ``foreign``'s."""

"""An output in an object store, which puts objects whole and renames nothing. Local folders are ``folder``'s."""

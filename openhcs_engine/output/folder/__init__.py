"""An output in a folder of this host, published by renaming. Object stores are ``bucket``'s."""

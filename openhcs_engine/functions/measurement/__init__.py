"""Numbers from images: objects measured one by one, and the quality of whole images."""

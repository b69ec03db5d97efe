"""Numbers from images: objects measured one by one, and the quality of whole images.

No objects are found here. The tables of a well's stacks are joined and summarised in ``execution``.
"""

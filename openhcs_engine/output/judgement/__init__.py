"""A plate judged: its measurements by the rules of ``model.judgement``, and the file of what a person decided.

Nothing here makes numbers, and nothing leaves a plate out of a screen.
"""

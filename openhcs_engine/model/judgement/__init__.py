"""The values by which a plate is judged: rules with their limits, results of checks, what a person decided.

What evaluates the rules, and the file of the decisions, are in ``output``; nothing here reads a table.
"""

"""Trying values of a pipeline's settings on a few wells: what is run, looked at, and shown on one page.

Not how wells are run: that is ``execution``'s, through the orchestrator. Nor what a setting may be: ``pipeline``.
"""

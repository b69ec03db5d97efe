"""What a function uses besides its own text: functions, classes and values of modules, packages, files.

It calls no function of a pipeline; which uses make a well stale is in ``laws``.
"""

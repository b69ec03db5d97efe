"""What plate steps fitted: ``fits/<name>/<fingerprint>/``, values in open formats and ``fit.json``, written last.

No function is called here; the two kinds of places are ``folder``'s and ``bucket``'s.
"""

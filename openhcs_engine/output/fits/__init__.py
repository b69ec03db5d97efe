"""What plate steps fitted: ``fits/<name>/<fingerprint>/``, values in open formats and ``fit.json``, written last."""

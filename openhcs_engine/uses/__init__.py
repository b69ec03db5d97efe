"""What a function uses besides its own text: functions, classes and values of modules, packages, files."""

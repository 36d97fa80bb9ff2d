"""The few widgets that ipywidgets does not have, each a Python class and a file of JavaScript."""

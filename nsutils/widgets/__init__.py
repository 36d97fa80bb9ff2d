"""The few widgets that ipywidgets does not have, a file each; one that needs JavaScript has it beside."""

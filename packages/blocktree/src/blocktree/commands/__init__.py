"""The commands of `bt`, a module for each family. They parse, ask, call and print; the work is done elsewhere."""

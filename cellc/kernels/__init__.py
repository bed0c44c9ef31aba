"""Compiled loops: built when they are first run, kept for later, called from Python."""

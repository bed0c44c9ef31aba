"""Rewrites that preserve the value of a cell, and the schedule."""

"""Metrics for folders of songs, ours or a rival's; one module each, none knows the pipeline.

A metric module has one face: its conventions in the docstring, `validate`, pure functions of
arrays, and `evaluate`, which returns a dict that can be written as JSON.
"""

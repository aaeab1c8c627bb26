"""Runs the firmware of a generated project, emulated or on a board, and compares what it answers with the reference."""

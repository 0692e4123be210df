"""Figures, measured: runs on simulated nodes beside bare pods, and the engine beside its limits.

Nothing here is a test: a slow machine gives smaller figures, so each one stands beside a limit or a rival that was
measured in the same run.
"""

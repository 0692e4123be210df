"""Running tasks: task pods are built here, created and stopped through a driver, and what they say is judged.

Pure: `names`, `manifest`, `observe`, `state`, `trim`, and what the toolbox writes (`steplog`, `summary`).
I/O: `pods`, behind the port in `driver`.
"""

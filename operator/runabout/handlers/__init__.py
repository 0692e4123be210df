"""kopf as the process shell: it logs in, watches Runs and Executors, and hands what it sees to the control plane.

Nothing else happens here. No change handlers, timers, daemons or indices: every one of them costs time per event or
keeps state in annotations, and reconciliation needs neither.
"""

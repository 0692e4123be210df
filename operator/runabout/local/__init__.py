"""Runs without a cluster: the operator's own parts around processes of this machine, a log in one file, and a folder.

The engine, the ledger, the passes of the reconciler, the collection of logs and the toolbox are those of the cluster;
what stands in for the API server and for pods is here and in :mod:`runabout.executors.local`.
"""

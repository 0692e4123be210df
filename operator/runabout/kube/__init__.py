"""A thin async client of the Kubernetes API: session, list-watch informer, apply, pod logs.

It knows nothing about runs. Every error is one of a small tree; every request has a deadline.
"""

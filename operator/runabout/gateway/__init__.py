"""The gateway: archives, caches and results for tasks; records, logs and decisions for people. Over HTTP.

A process without a state of its own: any number of them answer alike. It reads the records that the operator writes and
writes none; what it changes for a person it changes at the API server, in that person's name. docs/internals/gateway.md
has the requests of tasks.
"""

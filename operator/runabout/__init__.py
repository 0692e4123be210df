"""Runabout: a Kubernetes operator for runs, CI/CD-style graphs of tasks, each task a pod."""

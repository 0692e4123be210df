"""A real Kubernetes for everyone who clones the project, with the standard library only.

The code runs before any virtual environment exists. With a Docker engine the cluster is kind; without one the parts of
Kubernetes are built from Go modules, started on this machine and watched by pid files. `cli` is behind `hack/cluster`,
`imagecli` behind `hack/images`, `kindshim` behind `hack/kind`; everything else is one noun per module.
"""

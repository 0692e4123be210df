"""The control plane: brings every Run from what it is to what it should be.

One pass over one run is observe → decide → commit → act → report; a crash between any two of these steps is repaired
by running them again. Nothing here is remembered that cannot be rebuilt from the store, the Runs and the pods.
"""

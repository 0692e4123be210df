"""Writes the files that are made from the models of Run and Executor, and says which of them are not up to date."""

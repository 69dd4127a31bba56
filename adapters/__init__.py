"""Implementations of the application's ports, and of the external services that the entrypoints need."""

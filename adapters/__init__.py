"""Implementations of the application's ports, and of what the entrypoints need from the world outside."""

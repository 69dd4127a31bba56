"""The HTTP entry point: the server, the API, its documentation, and the composition of the three."""

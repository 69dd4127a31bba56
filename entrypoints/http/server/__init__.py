"""The HTTP server around the application: connections, admission control, exchanges. Knows no framework and no task."""

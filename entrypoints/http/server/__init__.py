"""The HTTP server around the application: parser, admission control, exchanges. Knows no framework and no task."""

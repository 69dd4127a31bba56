"""The page with which a user works on their tasks in a browser."""

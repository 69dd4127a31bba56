"""The API in Litestar: requests become use-case calls, results and errors become responses."""

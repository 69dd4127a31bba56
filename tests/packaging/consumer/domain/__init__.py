"""The bookshop's own domain."""

from domain.order import Order

__all__ = ["Order"]

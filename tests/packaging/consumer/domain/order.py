"""An order of books."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """Books that a customer has ordered."""

    customer: str
    books: tuple[str, ...]

"""The one rule of access: users reach their own tasks only."""

from application.errors import NotOwner
from domain.rules import USER_ID


def only_own_tasks(*, actor: str, user_id: str) -> None:
    """Check that the actor owns the tasks. Ids are compared code point by code point.

    Raises NotOwner when they differ, and InvalidText when the actor's id breaks the domain's rule.
    """
    USER_ID.check(actor)
    if actor != user_id:
        raise NotOwner

"""The one rule of access: users reach their own tasks and nobody else's."""

from application.errors import Forbidden
from domain import check_user_id


def only_own_tasks(*, actor: str, user_id: str) -> None:
    """Let the call pass when the actor is the user whose tasks are meant.

    Compares code point by code point. Raises Forbidden when they differ, and InvalidUserId when the actor's id breaks
    the domain's rule.
    """
    check_user_id(actor)
    if actor != user_id:
        raise Forbidden

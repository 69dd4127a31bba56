"""The composition root: the only place that assigns adapters to ports."""

from datetime import timedelta

from dependency_injector import containers, providers

from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids
from adapters.tokens import Keys, SharedSecret, TokenVerifier
from application import (
    ApplyBatch,
    ChangeSignal,
    CompleteTask,
    CreateTask,
    DeleteTask,
    FollowChanges,
    GetTask,
    ListChanges,
    ListTasks,
    Purge,
    UpdateTask,
)
from entrypoints.settings import Settings
from entrypoints.storage import MemoryStorage, postgres_storage


def remote_keys(url: str) -> Keys:
    """Return the key set of an issuer, loading the HTTP client that it needs."""
    from adapters.tokens.remote_keys import RemoteKeySet

    return RemoteKeySet(url)


class Container(containers.DeclarativeContainer):
    """The components of one running service. Needs prepared settings; any component may be overridden in tests."""

    settings = providers.Dependency(instance_of=Settings)

    clock = providers.Singleton(SystemClock)
    ids = providers.Singleton(Uuid7Ids)
    storage = providers.Selector(
        settings.provided.storage,
        memory=providers.Singleton(MemoryStorage),
        postgres=providers.Singleton(postgres_storage, settings),
    )
    tasks = storage.provided.tasks
    keys = providers.Selector(
        settings.provided.key_source,
        secret=providers.Singleton(SharedSecret, settings.provided.jwt_secret),
        jwks=providers.Singleton(remote_keys, settings.provided.jwt_jwks_url),
    )
    token_verifier = providers.Singleton(
        TokenVerifier,
        keys,
        user_claim=settings.provided.jwt_user_claim,
        issuer=settings.provided.jwt_issuer,
        audience=settings.provided.jwt_audience,
    )

    purge = providers.Singleton(
        Purge,
        tasks=tasks,
        clock=clock,
        keep_removals=providers.Factory(timedelta, days=settings.provided.tombstone_days),
        keep_keys=providers.Factory(timedelta, hours=settings.provided.idempotency_hours),
    )

    signal = providers.Singleton(ChangeSignal)
    list_tasks = providers.Singleton(ListTasks, tasks=tasks)
    list_changes = providers.Singleton(ListChanges, tasks=tasks)
    follow_changes = providers.Singleton(FollowChanges, tasks=tasks, signal=signal)
    create_task = providers.Singleton(CreateTask, tasks=tasks, clock=clock, ids=ids, signal=signal)
    get_task = providers.Singleton(GetTask, tasks=tasks)
    update_task = providers.Singleton(UpdateTask, tasks=tasks, clock=clock, signal=signal)
    complete_task = providers.Singleton(CompleteTask, tasks=tasks, clock=clock, signal=signal)
    delete_task = providers.Singleton(DeleteTask, tasks=tasks, clock=clock, signal=signal)
    apply_batch = providers.Singleton(ApplyBatch, tasks=tasks, clock=clock, ids=ids, signal=signal)

"""The composition root: the only place that assigns adapters to ports."""

from datetime import timedelta

from dependency_injector import containers, providers

from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids
from adapters.memory import MemoryTaskRepository
from adapters.tokens import Keys, SharedSecret, TokenVerifier
from application import ChangeSignal, Tasks
from entrypoints.settings import Settings
from entrypoints.storage import ReadyStorage, postgres_storage


def remote_keys(url: str) -> Keys:
    """Return the key set of an issuer, loading the HTTP client that it needs."""
    from adapters.tokens.remote_keys import RemoteKeySet

    return RemoteKeySet(url)


class Container(containers.DeclarativeContainer):
    """The components of one running service. Needs prepared settings; any component may be overridden in tests."""

    settings = providers.Dependency(instance_of=Settings)
    statement_observers = providers.Object(())
    """The StatementObservers of a database, as a tuple."""

    clock = providers.Singleton(SystemClock)
    ids = providers.Singleton(Uuid7Ids)
    storage = providers.Selector(
        settings.provided.storage,
        memory=providers.Singleton(ReadyStorage, providers.Singleton(MemoryTaskRepository)),
        postgres=providers.Singleton(postgres_storage, settings, statement_observers),
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

    signal = providers.Singleton(ChangeSignal)
    use_cases = providers.Singleton(
        Tasks.on,
        tasks,
        clock=clock,
        ids=ids,
        signal=signal,
        keep_removals=providers.Factory(timedelta, days=settings.provided.tombstone_days),
        keep_keys=providers.Factory(timedelta, hours=settings.provided.idempotency_hours),
    )
    purge = use_cases.provided.purge

"""Many writes in one request, all or nothing."""

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from msgspec import UNSET

from application import ApplyBatch, InvalidState, Operation, State
from domain import DomainError
from entrypoints.http.api.batch_schemas import BatchRequest, BatchResponse
from entrypoints.http.api.bodies import StrictRequest
from entrypoints.http.api.errors import InvalidInput
from entrypoints.http.api.examples import APPLIED, BATCH
from entrypoints.http.api.idempotency import IDEMPOTENCY_KEY_HEADER, once, sync_headers
from entrypoints.http.api.parameters import UserId
from entrypoints.http.docs.responses import (
    ACCESS,
    BODY,
    EXISTING,
    ID_TAKEN,
    KEY,
    REPLAYED,
    STORAGE,
    SYNC_TOKEN,
    WRITE,
    errors,
    reading,
    success,
)
from entrypoints.http.problems import InputError
from entrypoints.http.response import ReadyResponse

MAX_BATCH_BYTES = 262_144


def batch_handler(apply: ApplyBatch) -> HTTPRouteHandler:
    """Return the handler of batches."""

    @post(
        "/batch",
        status_code=200,
        summary="Write many tasks at once",
        operation_id="applyBatch",
        tags=["tasks"],
        responses=success("All operations are carried out", APPLIED)
        | errors(*BODY, *ACCESS, *EXISTING, *ID_TAKEN, *WRITE, *KEY, *STORAGE),
        response_headers=[SYNC_TOKEN, REPLAYED],
        operation_class=reading(IDEMPOTENCY_KEY_HEADER, body=BATCH),
        request_max_body_size=MAX_BATCH_BYTES,
    )
    async def apply_batch(request: StrictRequest, user_id: UserId, data: JSONBody[BatchRequest]) -> ReadyResponse:
        """All operations are carried out, in their order, or none. A rejection names each operation at fault."""
        operations = _operations(data)
        applied = await apply(
            actor=request.actor,
            user_id=user_id,
            operations=operations,
            if_state=None if data.if_state is UNSET else _state(data.if_state),
            once=await once(request),
        )
        headers = sync_headers(request, applied.changed_state, is_replayed=applied.is_replayed)
        return ReadyResponse.json(200, BatchResponse.of(applied), *headers)

    return apply_batch


def _state(token: str) -> State:
    try:
        return State.parse(token)
    except InvalidState as error:
        raise InvalidInput.of(error, pointer="/if_state") from None


def _operations(body: BatchRequest) -> list[Operation]:
    """Return the operations of a body. Raises InvalidInput that names all that break a rule of the domain."""
    operations: list[Operation] = []
    faults: list[InputError] = []
    for place, given in enumerate(body.operations):
        try:
            operations.append(given.operation())
        except DomainError as error:
            pointer = f"/operations/{place}/{error.field}"
            faults.append(InputError(pointer=pointer, code=error.code, detail=error.detail))
    if faults:
        raise InvalidInput(faults[0].detail, errors=faults)
    return operations

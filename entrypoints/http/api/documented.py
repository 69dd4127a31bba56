"""What the OpenAPI document lists: the types of all bodies, and the codes of an InputError."""

from application import IDEMPOTENCY_KEY
from domain.rules import TEXTS
from entrypoints.http.api.batch_schemas import (
    BatchRequest,
    BatchResponse,
    CompleteEntry,
    CreateEntry,
    RemoveEntry,
    UpdateEntry,
)
from entrypoints.http.api.parameters import Q_RULE
from entrypoints.http.api.schemas import (
    ChangesResponse,
    CreateTaskRequest,
    DeleteEntry,
    HealthResponse,
    PutEntry,
    TaskListResponse,
    TaskResponse,
    UpdateTaskRequest,
)
from entrypoints.http.problems import INPUT_CODES, Problem

SCHEMAS = (
    *(CreateTaskRequest, UpdateTaskRequest, TaskResponse, TaskListResponse),
    *(PutEntry, DeleteEntry, ChangesResponse),
    *(CreateEntry, UpdateEntry, CompleteEntry, RemoveEntry, BatchRequest, BatchResponse),
    *(HealthResponse, Problem),
)
ERROR_CODES = (
    *INPUT_CODES,
    *(code for rule in TEXTS for code in rule.codes),
    *Q_RULE.codes,
    *IDEMPOTENCY_KEY.codes,
    *("limit_out_of_range", "sync_token_malformed", "task_repeated"),
    *("task_not_found", "task_already_exists", "version_mismatch"),  # of the operations in a batch
)
"""Those of a request's form, then those of the domain and the application."""

# The service without the embedded PostgreSQL: a container needs a DATABASE_URL. `make image` builds it.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet 'uv>=0.9,<1'
WORKDIR /src
ENV PATH=/opt/uv/bin:$PATH UV_PYTHON=python UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1 \
    UV_PROJECT_ENVIRONMENT=/opt/hextasks UV_COMPILE_BYTECODE=1
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-default-groups --extra http --extra postgres --extra otel --no-install-project \
 && uv export --frozen --only-dev --quiet --output-file /tmp/locked.txt
COPY . .
# The repository, whose tag is the version, is not part of the build context.
ARG VERSION=0.0.0
RUN SETUPTOOLS_SCM_PRETEND_VERSION=${VERSION} uv build --wheel --build-constraint /tmp/locked.txt --out-dir /tmp/wheel \
 && uv pip install --no-deps --python /opt/hextasks /tmp/wheel/*.whl

FROM ${PYTHON_IMAGE}
# Nothing is installed later, so the installers go. Nothing can be compiled later, because the root filesystem is read-only.
RUN find / -xdev \( -path '*/bin/pip*' -o -path '*-packages/pip*' -o -path '*-packages/setuptools*' \
      -o -path '*-packages/wheel*' -o -path '*/python3*/ensurepip' \) -prune -exec rm -rf {} + \
 && python -m compileall -q "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && echo 'hextasks:x:10001:10001::/nonexistent:/usr/sbin/nologin' >>/etc/passwd \
 && echo 'hextasks:x:10001:' >>/etc/group
COPY --from=build /opt/hextasks /opt/hextasks
ENV PATH=/opt/hextasks/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    ENVIRONMENT=production HOST=0.0.0.0 PORT=8000 ADMIN_PORT=8001
USER 10001:10001
# Not the admin port, which `docker run -P` would publish.
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["python", "-IS", "-c", "\
from os import environ; from socket import create_connection; \
probe = create_connection(('127.0.0.1', environ['ADMIN_PORT']), timeout=2); \
probe.sendall(b'GET /health/live HTTP/1.0\\r\\n\\r\\n'); \
raise SystemExit(b' 200 ' not in probe.recv(99))"]
ENTRYPOINT ["hextasks"]
CMD ["serve"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="hextasks" \
      org.opencontainers.image.description="A multi-tenant task service on PostgreSQL" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

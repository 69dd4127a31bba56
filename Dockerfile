# The service without the embedded PostgreSQL: a container needs a DATABASE_URL.
FROM python:3.13-slim AS build
RUN pip install --no-cache-dir 'uv>=0.9,<1'
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
ENV UV_PROJECT_ENVIRONMENT=/opt/hextasks UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN uv sync --frozen --no-default-groups --extra http --extra postgres --no-install-project
COPY . .
RUN uv sync --frozen --no-default-groups --extra http --extra postgres --no-editable

FROM python:3.13-slim
RUN useradd --system --no-create-home hextasks
COPY --from=build /opt/hextasks /opt/hextasks
ENV PATH=/opt/hextasks/bin:$PATH PYTHONUNBUFFERED=1 ENVIRONMENT=production HOST=0.0.0.0 PORT=8000
USER hextasks
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=2)"]
ENTRYPOINT ["hextasks"]
CMD ["serve"]

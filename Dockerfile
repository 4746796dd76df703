# Built nowhere yet: docs/running-it.md says what was tried. Two stages, so that no build tool is in the image that runs.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/gateway
COPY requirements.lock ./
# One lock file serves development too, so the image holds test tools it does not need; it never holds an unlocked package.
RUN /opt/gateway/bin/python -m pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY adapters adapters
COPY mappings mappings
COPY consent_policy consent_policy
COPY sandbox sandbox
RUN /opt/gateway/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin gateway \
 && install -d -o gateway -g gateway -m 0700 /var/lib/gateway /var/lib/gateway/keys
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_VAR=/var/lib/gateway \
    GATEWAY_KEYS=/var/lib/gateway/keys
WORKDIR /var/lib/gateway
VOLUME /var/lib/gateway
USER gateway
# 8000: callers, behind a proxy that ends TLS. 8001: health, readiness and metrics, for operators alone.
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8001/health', timeout=2)"]
CMD ["gateway", "serve"]

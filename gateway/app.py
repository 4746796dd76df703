"""The composition root: settings -> every part, built once; feeds api and worker."""

import asyncio
import contextlib
import gc
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway import caller, mapping, policy, registry
from gateway.adapter import Build, SourceSettings, Tools
from gateway.api import oauth
from gateway.api.fhir import DOCUMENTED, Fhir
from gateway.api.middleware import Edge
from gateway.api.operations import operations
from gateway.connectors import connector
from gateway.connectors.http import AioHttp
from gateway.errors import MethodNotAllowed, NotFound, StartupRefused
from gateway.fetch import Fetch
from gateway.flows.parts import Parts
from gateway.identity import Ages, Identity
from gateway.outside.jwks import Jwks
from gateway.outside.pds import Pds
from gateway.outside.sds import Sds
from gateway.settings import Settings
from gateway.store import Keys, Store, open_store
from gateway.worker import Worker

LOG_EVENTS = ("gateway.started", "gateway.stopped", "request.failed", "worker.failed", "delivery.taken", "delivery.refused", "policy.moved")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Parts, Worker]]:
    """Settings -> parts and worker, closed at the end. Raises `StartupRefused` with what to do next."""
    _refuse_live_with_demo(settings)
    keys = Keys.load(settings.keys, mode=settings.mode)
    store = await open_store(settings.database(), keys, name=settings.name, serve=True)
    http = AioHttp()
    pds, sds = _pds(settings), _sds(settings)
    try:
        parts = await _parts(settings, keys, store, http, pds, sds)
        worker = Worker(parts, store)
        await worker.tick()
        yield parts, worker
    finally:
        await http.close()
        await pds.close()
        if sds is not None:
            await sds.close()
        await store.close()

"""Serving: two servers in one process, the worker beside them, and an end that loses nothing."""

import asyncio
import contextlib
import gc
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import structlog
import uvicorn

from gateway.api.operations import operations
from gateway.api.wire import bounded
from gateway.app import create, opened, utc_now
from gateway.errors import StoreDown
from gateway.settings import Settings
from gateway.worker import Worker

_log = structlog.get_logger()
_AHEAD_S = 30.0  # the process for large bodies makes itself ready; a server that lives shorter has it with the first of them


def serve(settings: Settings) -> None:
    """Serve until told to stop. Raises `StartupRefused` with what to do next."""
    quiet()
    with uvloop():
        asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with opened(settings, ahead_s=_AHEAD_S) as (parts, store):
        worker = Worker(parts)
        await worker.tick()

        async def ready() -> Mapping[str, bool]:
            log, migrations = await _holds(store.log.check), await _holds(store.is_current)
            return {"log": log, "policy": parts.holds_policy(utc_now()), "migrations": migrations}

        servers = [
            _Server(_config(create(parts, settings), settings.host, settings.port, settings)),
            _Server(_config(operations(ready), settings.host, settings.operations_port, settings)),
        ]
        working = asyncio.create_task(worker.run())
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)  # a full collection over the heap of start-up would stop every request for tens of ms
        _log.info("gateway.started", port=settings.port, operations_port=settings.operations_port, mode=settings.mode)
        for wanted in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(wanted, servers[0].stop)
        main = asyncio.create_task(servers[0].serve_beside())
        beside = asyncio.create_task(servers[1].serve_beside())
        await main
        servers[1].should_exit = True
        await beside
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        await parts.caller.failures.flush(utc_now() + timedelta(seconds=2))
        await parts.accounts.settle(utc_now(), parts.registry.sources)
        _log.info("gateway.stopped")


class _Server(uvicorn.Server):
    """Two servers in one process. Signals are ours: uvicorn would raise them again and end us before the log is flushed."""

    def stop(self) -> None:
        self.should_exit = True

    async def serve_beside(self) -> None:
        await self._serve()


def _config(app: Any, host: str, port: int, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=bounded(settings.body_bytes),
        loop="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=settings.proxy is not None,
        forwarded_allow_ips=settings.proxy or "",
        timeout_graceful_shutdown=10,
        limit_concurrency=2_000,
        h11_max_incomplete_event_size=16_384,
    )


@contextmanager
def uvloop() -> Iterator[None]:
    """uvloop's event loop where the platform has it."""
    import uvloop as faster

    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(faster.EventLoopPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(before)


def quiet() -> None:
    """Logs as JSON lines of our own; every library's logger stays silent below a warning."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=json.dumps),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.CRITICAL, handlers=[logging.NullHandler()])
    for name in (
        "uvicorn",
        "uvicorn.error",
        "uvicorn.access",
        "httpx",
        "httpcore",
        "aiohttp",
        "asyncio",
        "sqlalchemy",
        "authlib",
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)


async def _holds(check: Callable[[], Awaitable[bool | None]]) -> bool:
    """A check that answers False or raises `StoreDown` does not hold."""
    try:
        return await check() is not False
    except StoreDown:
        return False

"""One of four processes that play the same assertion at the same moment: prints what became of it, as JSON.

Arguments: database URL, key folder, how many at once. It says "ready", then waits for the assertion on standard input.
"""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

from caller_world import BASE, RIVERSIDE, form

from gateway.caller import Attempt, Failures, Parts, exchange
from gateway.errors import OAuthRefused
from gateway.outside.jwks import Jwks
from gateway.store import Keys, open_store, utc_now


class Key:
    def __init__(self, keys: Keys) -> None:
        self.kid, self.private = keys.token_signing.id, keys.token_signing.private


async def play(url: str, folder: str, count: int) -> str:
    keys = Keys.load(Path(folder), mode="sandbox")
    store = await open_store(url, keys, name="test")
    jwks = Jwks(live=False)
    parts = Parts(
        clients=store.clients,
        log=store.log,
        limits=store.limits,
        key=Key(keys),
        base_url=BASE,
        resolve_organisation=lambda code: RIVERSIDE if code in RIVERSIDE.all_codes else None,
        fetch_keys=jwks.fetch,
        failures=Failures(store.log),
        clock=utc_now,
        token_per_minute=100_000,
    )

    async def once() -> str:
        try:
            await exchange(form(text), Attempt("192.0.2.1"), parts)
        except OAuthRefused as refused:
            return refused.reason
        return "granted"

    print("ready", flush=True)
    text = sys.stdin.read()
    became = Counter(await asyncio.gather(*(once() for _ in range(count))))
    await jwks.close()
    await store.close()
    return json.dumps({"granted": became.pop("granted", 0), "refused": became})


if __name__ == "__main__":
    print(asyncio.run(play(sys.argv[1], sys.argv[2], int(sys.argv[3]))))

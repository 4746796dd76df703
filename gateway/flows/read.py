"""The line for a read, a search, `$everything` and every further page: one NHS number in, one lawful answer out."""

import asyncio
from time import monotonic

from gateway import bundle, consent, disclosure, mapping
from gateway.audit import record_decision, record_disclosure
from gateway.errors import PolicyNotActive, StoreDown
from gateway.facts import gather
from gateway.fetch import Fetched
from gateway.flows.parts import Parts
from gateway.identity import admit
from gateway.model import AccessRequest, Deny, MappedResource, PatientIdentity, RefusedRecord
from gateway.plan import plan

TRIES = 3  # the facts may move under a request this often before we give up
YIELD_S = 0.002  # mapping lets other requests in this often


async def read(parts: Parts, request: AccessRequest) -> bundle.Answer:
    """`AccessRequest` -> `Answer`. Raises a `GatewayError` where nothing may be said but a status."""
    if not parts.policy_is_active():
        raise PolicyNotActive(reason="policy-not-active")
    for _ in range(TRIES):
        identity = await parts.identity.trace(request.query.person, correlation_id=request.correlation_id, now=parts.now())
        facts = await gather(
            identity, request, store=parts.facts, policy=parts.policy, feeds=parts.registry.feeds(), now=parts.now()
        )
        decision = consent.decide(facts, parts.policy, parts.terms)
        recorded = await record_decision(parts.log, decision, now=parts.now())
        if isinstance(recorded.value, Deny):
            return await _denied(parts, recorded)
        known = await admit(identity, recorded, parts)
        fetched = await parts.fetch(plan(recorded, known, parts.registry), deadline_s=parts.deadline_s)
        mapped, refused = await _map(parts, known, fetched)
        decided = disclosure.disclose(mapped, fetched.reports, refused, recorded, known, parts.policy, page=_page(parts, request))
        released = await record_disclosure(parts.log, decided, now=parts.now())
        if released is not None:
            return bundle.answer(released, await _look(parts))
    raise StoreDown(reason="facts-keep-moving")

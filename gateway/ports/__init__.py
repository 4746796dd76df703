"""What the steps need from the world, as protocols. store/ and outside/ implement them; tests/fakes.py fakes them.

Every method may raise `StoreDown` (store ports) or the error named; nothing else escapes an implementation.
"""

from gateway.ports.clients import Client, Clients, Limits
from gateway.ports.delivery import Mandates, Parcels, Recalls, Suppression, Suppressions
from gateway.ports.drift import Counted, DriftRow, Drifts
from gateway.ports.facts import Consents, FactsStore, PersonFacts, PolicyActivation, Protections, Relationships
from gateway.ports.log import Entry, Log, LogQuestion, StoredEvent
from gateway.ports.matching import Chunk, Crosswalk, CrosswalkKind, CrosswalkRow, LocalRecord, LocalRecords, MatchOutcome, Settled
from gateway.ports.outside import Candidate, Demographics, DemographicsSearch, Provider, Search, Traced, TraceFailure, Wanted
from gateway.ports.persons import PersonRow, Persons
from gateway.ports.shelf import Listed, ShelfRow, ShelfStore, ShelfStored
from gateway.ports.work import WORK_KINDS, Job, Leased, NewWork, Owed, OwedParcel, Queue, WorkItem, WorkList, WorkSubject

__all__ = [
    "WORK_KINDS",
    "Candidate",
    "Chunk",
    "Client",
    "Clients",
    "Consents",
    "Counted",
    "Crosswalk",
    "CrosswalkKind",
    "CrosswalkRow",
    "Demographics",
    "DemographicsSearch",
    "DriftRow",
    "Drifts",
    "Entry",
    "FactsStore",
    "Job",
    "Leased",
    "Limits",
    "Listed",
    "LocalRecord",
    "LocalRecords",
    "Log",
    "LogQuestion",
    "Mandates",
    "MatchOutcome",
    "NewWork",
    "Owed",
    "OwedParcel",
    "Parcels",
    "PersonFacts",
    "PersonRow",
    "Persons",
    "PolicyActivation",
    "Protections",
    "Provider",
    "Queue",
    "Recalls",
    "Relationships",
    "Search",
    "Settled",
    "ShelfRow",
    "ShelfStore",
    "ShelfStored",
    "StoredEvent",
    "Suppression",
    "Suppressions",
    "TraceFailure",
    "Traced",
    "Wanted",
    "WorkItem",
    "WorkList",
    "WorkSubject",
]

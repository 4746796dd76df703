"""Who asks and who sends in the demonstration: people at partner systems, each registered for as little as they need."""

from dataclasses import dataclass

from sandbox.families import AUTHORITY_GSS, CENTRE_URN, COMMUNITY, RIVERSIDE

LOCAL_ROLE = "urn:shared-care-gateway:CodeSystem:role"
READS = "system/*.rs"
SENDS = "system/ServiceRequest.c system/Task.r"


@dataclass(frozen=True, slots=True)
class Asker:
    """A person at a partner system."""

    client: str
    organisation: str
    name: str
    subject: str
    role: str
    purpose: str
    case: str = ""
    scope: str = ""  # asked for beside nothing else; "": reading alone


GP = Asker("riverside-emis", f"ods:{RIVERSIDE}", "Dr Ada Bright", "100000000001", "R0260", "TREAT")
VISITOR = Asker("meadowvale-system", f"ods:{COMMUNITY}", "Hazel Visitor", "100000000002", "R0690", "TREAT")
CENTRE = Asker("willow-centre", f"dfe-urn:{CENTRE_URN}", "Cara Centre", "willow-7", f"{LOCAL_ROLE}|centre-worker", "EARLYHELP")
WORKER = Asker(
    "northshire-case", f"gss:{AUTHORITY_GSS}", "Sam Worker", "SW0001", f"{LOCAL_ROLE}|social-worker", "S47", "S47-2026-0107"
)
# The same person, with a system that sends and may ask what became of it, and reads nobody's record.
REFERRER = Asker("meadowvale-referrals", VISITOR.organisation, VISITOR.name, VISITOR.subject, VISITOR.role, "COC", scope=SENDS)
AUDITOR = Asker("audit-office", "ods:Z99901", "Audra Check", "100000000009", f"{LOCAL_ROLE}|auditor", "HCOMPL")
ASKERS = (GP, VISITOR, CENTRE, WORKER, REFERRER, AUDITOR)

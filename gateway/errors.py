"""Every error of the gateway, in one tree.

GatewayError                     what a caller is told: status, R4 issue-type, Spine code, constant public text
├── BadRequest 400               the request cannot be read (nothing of it is echoed)
│   ├── InvalidParameter         a search parameter, header or NHS number with a value we refuse
│   │   ├── NumberWithoutSystem  an NHS number without its system
│   │   ├── PersonNeeded         a search that names nobody in a way we can find them
│   │   ├── IncompleteIdentifier a question of the log whose code lacks its system: it would find nobody
│   │   ├── MissingElement       a required element that is not there
│   │   ├── UnknownElement       an element that R4 does not have there
│   │   ├── NoSuchDelivery       a recipient to whom nothing of this type goes
│   │   └── UnusableText         text with characters that no screen shows, or that turn its direction
│   ├── NotSupported             an interaction, parameter or modifier we do not offer (strict handling)
│   │   └── OperationNotOffered  a path that ends in the name of an operation we do not have
│   └── CursorRefused            a paging link that is stale, altered or somebody else's
├── TooLarge 413
├── UnsupportedMedia 415 · NotAcceptable 406 · MethodNotAllowed 405
├── NotAuthenticated 401         no token, or one that does not hold
├── AlreadySent 409              its own identifier, sent before with another content
├── Refused 403                  the same for every NHS number: caller, purpose, role, scope or agreement
├── NotFound 404                 no such route, or a resource this caller may not know of: alike
├── TooManyRequests 429
├── InternalFault 500            ours; recorded, described by nothing but its number
└── Unavailable 503
    ├── AuditDown                the log cannot be written: nothing is fetched or sent
    ├── StoreDown                consents, persons or clients cannot be read: deny
    ├── TracerDown               PDS cannot be reached: for every number alike
    ├── PolicyNotActive          this worker does not hold the active policy
    └── Incomplete 504           `Prefer: handling=strict` asked for every source or none
OAuthRefused                     RFC 6749 section 5.2: error, description (constant), status
SourceError                      what an adapter may raise; sorted by what to do
├── SourceUnavailable            try later
├── SourceRefused                credentials, permission or an explicit refusal: tell the operator
├── SourceContractBroken         the source does not keep its own format: tell its owner
└── SourceTimedOut               it took longer than its budget
StartupRefused                   a setting, key, policy or database that we will not start with; says what to do next
"""

from contextvars import ContextVar
from typing import ClassVar


class GatewayError(Exception):
    """Something a caller is told. The text is constant: no value from outside is ever part of it."""

    status: ClassVar[int] = 500
    issue_code: ClassVar[str] = "exception"
    spine_code: ClassVar[str] = "INTERNAL_SERVER_ERROR"
    public_text: ClassVar[str] = "Something went wrong at the gateway. It has been recorded."

    def __init__(self, *, reason: str = "", retry_after_s: int | None = None, expression: str | None = None) -> None:
        """`reason` is a short constant for the audit; `expression` names a parameter or header, never its value."""
        super().__init__(reason or type(self).__name__)
        self.reason = reason or type(self).__name__
        self.retry_after_s = retry_after_s
        self.expression = expression


class BadRequest(GatewayError):
    status = 400
    issue_code = "structure"
    spine_code = "BAD_REQUEST"
    public_text = "The request could not be read. Check its form, headers and body against the documentation."


class InvalidParameter(BadRequest):
    issue_code = "value"
    spine_code = "INVALID_PARAMETER"
    public_text = "A parameter, header or element has a value that cannot be used."


class InvalidNhsNumber(InvalidParameter):
    spine_code = "INVALID_NHS_NUMBER"
    public_text = "The identifier is not a valid NHS number."


class NumberWithoutSystem(InvalidParameter):
    public_text = "An NHS number is given with its system: https://fhir.nhs.uk/Id/nhs-number, a vertical bar, ten digits."


class PersonNeeded(InvalidParameter):
    issue_code = "required"
    public_text = (
        "A person is found by NHS number or by an id of this gateway, and by nothing else: a Patient by identifier or _id, "
        "other types by patient:identifier or patient."
    )


class IncompleteIdentifier(InvalidParameter):
    public_text = (
        "A member of staff is asked for by system and id with a vertical bar between, an organisation by register and code "
        "(ods:, gss: or dfe-urn:), as AuditEvents name them. A code by itself would find nobody."
    )


class MissingElement(InvalidParameter):
    issue_code = "required"
    public_text = "A required element is missing: the expression says which."


class UnknownElement(InvalidParameter):
    issue_code = "structure"
    public_text = "An element is not one that FHIR R4 has there: the expression says in which element it stands."


class NoSuchDelivery(InvalidParameter):
    public_text = "Nothing of this type is delivered to the organisation that this element names, or it is not known here."


class UnusableText(InvalidParameter):
    public_text = "A text holds a character that is not shown, or one that turns the direction of reading. Send it without."


class NotSupported(BadRequest):
    issue_code = "not-supported"
    spine_code = "NOT_IMPLEMENTED"
    public_text = "This interaction or parameter is not offered. The CapabilityStatement lists what is."


class OperationNotOffered(NotSupported):
    public_text = (
        "No operation of this name is offered here. Of a Patient there are $everything, $healthy-child-programme and "
        "$cp-is-access-history."
    )


class CursorRefused(BadRequest):
    issue_code = "expired"
    spine_code = "INVALID_PARAMETER"
    public_text = "This paging link can no longer be used. Ask the first page again."


class TooLarge(GatewayError):
    status = 413
    issue_code = "too-long"
    spine_code = "BAD_REQUEST"
    public_text = "The request is larger than this gateway accepts."


class UnsupportedMedia(GatewayError):
    status = 415
    issue_code = "not-supported"
    spine_code = "UNSUPPORTED_MEDIA_TYPE"
    public_text = "The content type of the request is not one this gateway reads."


class NotAcceptable(GatewayError):
    status = 406
    issue_code = "not-supported"
    spine_code = "BAD_REQUEST"
    public_text = "Answers are FHIR R4 JSON: accept application/fhir+json or application/json."


class MethodNotAllowed(GatewayError):
    status = 405
    issue_code = "not-supported"
    spine_code = "NOT_IMPLEMENTED"
    public_text = "This method is not offered here."


class NotAuthenticated(GatewayError):
    status = 401
    issue_code = "login"
    spine_code = "ACCESS_DENIED"
    public_text = "A valid access token is needed. Get one at the token endpoint named in the discovery document."


class AlreadySent(GatewayError):
    status = 409
    issue_code = "duplicate"
    spine_code = "BAD_REQUEST"
    public_text = "Something else was submitted under this identifier before. Give what is new an identifier of its own."


class Refused(GatewayError):
    status = 403
    issue_code = "forbidden"
    spine_code = "ACCESS_DENIED"
    public_text = "This caller may not do this for this purpose. The rule is the same for every NHS number."


class NotFound(GatewayError):
    status = 404
    issue_code = "not-found"
    spine_code = "RESOURCE_NOT_FOUND"
    public_text = "Nothing that can be shown here by this route."


class TooManyRequests(GatewayError):
    status = 429
    issue_code = "throttled"
    spine_code = "TOO_MANY_REQUESTS"
    public_text = "Too many requests. Wait as long as Retry-After says and try again."


class InternalFault(GatewayError):
    """A fault of ours that nothing else names."""


class Unavailable(GatewayError):
    status = 503
    issue_code = "transient"
    spine_code = "SERVICE_UNAVAILABLE"
    public_text = "The gateway cannot answer safely just now, so it does not answer. Try again shortly."


class AuditDown(Unavailable):
    """The log cannot be written, so nothing may be fetched or sent."""


class StoreDown(Unavailable):
    """Consents, persons, clients or the queue cannot be read."""


class TracerDown(Unavailable):
    """PDS cannot be reached, or its rate is spent."""


class PolicyNotActive(Unavailable):
    """This worker does not hold the policy whose hash is active in the database."""


class Incomplete(Unavailable):
    status = 504
    issue_code = "incomplete"
    public_text = "A source did not answer, and the request asked for all or nothing (Prefer: handling=strict)."


class OAuthRefused(Exception):
    """A token request refused. Source: RFC 6749 section 5.2, RFC 7523 section 3.2. `reason` goes to the audit only."""

    def __init__(self, error: str, *, reason: str, status: int = 400, retry_after_s: int | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.reason = reason
        self.status = status
        self.retry_after_s = retry_after_s


class SourceError(Exception):
    """What an adapter raises. `reason` is a short constant for audit and operators; never a value, never a foreign text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SourceUnavailable(SourceError):
    """Not reachable, or it said to come back later. The breaker acts."""


# Whether a source's answer is with a process of ours just now, or waits for room: what fails then is no fault of the source.
OUR_FAULT: ContextVar[bool] = ContextVar("our_fault", default=False)


class SourceRefused(SourceError):
    """It refused us: credentials, permission, an agreement switched off. The operator acts."""


class SourceContractBroken(SourceError):
    """It answered with something that breaks its own format. The source's owner acts."""


class SourceTimedOut(SourceError):
    """It did not answer within its budget."""


class StartupRefused(Exception):
    """We will not start like this. The message says what is wrong and what to do next."""

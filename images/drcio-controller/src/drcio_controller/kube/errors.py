"""Everything that can go wrong between the controller and the API server.

KubeError
|-- EndpointError        nobody told us where the API server is, or a credential is unreadable
|-- ObjectMalformed      an object that is not what it should be; skipped and counted
|   `-- PodMalformed     no pod that we can manage
|-- AnswerTooLarge       a page of objects that would not fit into our memory; ask for fewer
|-- ApiUnavailable       no answer: refused, timed out, cut
|   `-- WatchBroken      a watch ended in the middle of a line, or sent what is not JSON
`-- ApiRefused           an answer with a status other than 2xx
    |-- Unauthorized     401, 403
    |-- NotFound         404
    |-- Conflict         409
    |-- Expired          410, as a response or as a watch's ERROR event: list again
    `-- Overloaded       429, 5xx
"""

from http import HTTPStatus


class KubeError(Exception):
    """Something between the controller and the API server went wrong."""


class EndpointError(KubeError):
    """The API server's address or a credential cannot be found."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class ObjectMalformed(KubeError):
    """An object from the API server is not what it should be."""


class PodMalformed(ObjectMalformed):
    """An object from the API server is not a pod that can be managed."""


class AnswerTooLarge(KubeError):
    """A list's answer has more bytes than are read at once."""


class ApiUnavailable(KubeError):
    """The API server gave no complete answer.

    `kind` is short and from a small set (`connect`, `timeout`, `protocol`), fit for a metric label.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class WatchBroken(ApiUnavailable):
    """A watch sent half a line or something that is not a watch event."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "protocol")


class ApiRefused(KubeError):
    """The API server answered with an error status."""

    def __init__(self, code: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s


class Unauthorized(ApiRefused):
    """The token is missing, expired, or its account may not do this."""


class NotFound(ApiRefused):
    """There is no such object."""


class Conflict(ApiRefused):
    """The object exists already, or has changed meanwhile."""


class Expired(ApiRefused):
    """The resource version asked for is no longer in the server's window."""


class Overloaded(ApiRefused):
    """The server cannot serve this now; it may name a time to wait."""


_BY_CODE: dict[int, type[ApiRefused]] = {
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.FORBIDDEN: Unauthorized,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Expired,
    HTTPStatus.TOO_MANY_REQUESTS: Overloaded,
}


def kind_of(error: KubeError | OSError) -> str:
    """Return what two failures have in common that one line can stand for, whatever was asked for.

    What an account may not do differs from one kind of object to another: that is one kind each.
    """
    match error:
        case Unauthorized():
            return str(error)
        case ApiRefused():
            return f"{error.code} {error.reason}"
        case ApiUnavailable():
            return error.kind
        case _:
            return type(error).__name__


def refused(code: int, reason: str, message: str, retry_after_s: float | None = None) -> ApiRefused:
    """Return the error that an answer with status `code` stands for."""
    default = Overloaded if code >= HTTPStatus.INTERNAL_SERVER_ERROR else ApiRefused
    return _BY_CODE.get(code, default)(code, reason, message, retry_after_s)

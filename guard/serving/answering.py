"""From what was judged together to an answer for each request, once."""

from guard.errors import CornerguardError
from guard.serving.batches import Batch, Part, Request
from guard.serving.rejections import Expired
from guard.serving.verdict import Judged

__all__ = ["EXPIRED", "settle", "share", "wanted"]

EXPIRED = "the deadline passed in the queue"


def share(batch: Batch, judged: Judged) -> list[Judged]:
    """Give every request of a batch what was judged of it; return the answers that were awaited.

    A request whose images run one by one is answered when the last of them is judged.
    """
    answers: list[Judged] = []
    start = 0
    for part in batch.parts:
        stop = start + part.stop - part.start
        alone = len(batch.parts) == 1
        whole = _whole(part, judged if alone else judged.part(start, stop))
        if whole is not None and settle(part.request, whole):
            answers.append(whole)
        start = stop
    return answers


def settle(request: Request, outcome: Judged | CornerguardError | None = None) -> bool:
    """Answer a request, by an error or even not at all; say whether anybody awaited it."""
    if request.timer:
        request.timer.cancel()
        request.timer = None
    if request.answer.done():
        return False
    if isinstance(outcome, Judged):
        request.answer.set_result(outcome)
    elif outcome is not None:
        request.answer.set_exception(outcome)
    else:
        request.answer.cancel()
    return True


def wanted(batch: Batch, now: float) -> Batch | None:
    """Return the batch without what expired by `now` or is not awaited, if anything is left."""
    for part in batch.parts:
        if now > part.request.deadline:
            settle(part.request, Expired(EXPIRED))
    if any(part.request.answer.done() for part in batch.parts):
        parts = [part for part in batch.parts if not part.request.answer.done()]
        return Batch(parts, batch.tries) if parts else None
    return batch


def _whole(part: Part, judged: Judged) -> Judged | None:
    """Return all that is known of a request, once that is all."""
    request = part.request
    if len(judged.verdict) == len(request.images):
        return judged
    request.judged[part.start] = judged
    if sum(len(one.verdict) for one in request.judged.values()) < len(request.images):
        return None
    return Judged.join([one for _, one in sorted(request.judged.items())])

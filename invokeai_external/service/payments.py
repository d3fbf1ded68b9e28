"""Reserves what a request may cost before it is sent, and settles each of its calls when it ends."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from ..errors import (
    AuthenticationError,
    ModelRetiredError,
    NotConfiguredError,
    ProviderError,
    QuotaError,
    Remedy,
    ServiceStateError,
    SettingsError,
    SpendingRecordError,
)
from ..planning.plan import Call, Plan, estimate_of, expected_of
from ..pricing.prices import cost_usd
from ..progress import Failed, Progress, Received, Retrying, Sending, Waiting
from ..providers.registry import Registry
from ..providers.schema import Prices
from ..result import GeneratedImage, Notice
from ..settings.settings import Settings
from ..settings.spending import LiveBudgets, lacks_folder, record_path
from ..spending.amounts import at_most_nano, nano
from ..spending.limits import Budgets, LimitExceededError, Refusal
from ..spending.recorded_call import PlannedCall, Settlement
from .interrupted_calls import notices_of
from .limits_to_move import limits_to_move
from .refusals import Purse, check_request, limit_exceeded, overrun, warning

if TYPE_CHECKING:
    from ..spending.record import SpendingRecord

__all__ = ["Payments", "Reserved", "payments_of", "with_billing"]

_LOOK_AGAIN_S = 0.25
"""How often a request that waits for room looks for it."""

_NOT_RECORDED = "What a call has cost is not recorded."

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reserved:
    """The calls of a request, which may be sent.

    Attributes:
        calls: The calls.
        ids: The number of each in the record; None for those that are not recorded.
        left: The numbers of those whose end is not known yet.
        notices: What to know about the limits and the record; it grows until the last call has ended.
    """

    calls: Sequence[PlannedCall]
    ids: tuple[int | None, ...]
    left: set[int] = field(default_factory=set)
    notices: list[Notice] = field(default_factory=list)


class Payments:
    """The limits on what requests may cost, and the record of what they have cost.

    Args:
        record: The record; None to record nothing.
        budgets: The limits, which may change while the program is running.
        records_prompts: Whether prompts are recorded.
        registry: The models, for limits on those that end.
        clock: Seconds that only go up.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        record: SpendingRecord | None,
        budgets: LiveBudgets,
        *,
        records_prompts: bool = False,
        registry: Callable[[], Registry] = Registry,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._record, self._budgets, self._records_prompts = record, budgets, records_prompts
        self._registry, self._clock, self._sleep = registry, clock, sleep
        self._has_looked_back = False
        self._thread: ThreadPoolExecutor | None = None
        self._recording = set[Future[None]]()
        self._not_recorded: dict[Notice, None] = {}

    @asynccontextmanager
    async def reserved(
        self, plan: Plan, purse: Purse, on_progress: Callable[[Progress], None], *, sandbox: bool = False
    ) -> AsyncIterator[Reserved]:
        """Reserve the most that a plan can cost, while the block runs; what was not sent by then is free again.

        Args:
            plan: What is to be sent.
            purse: Who pays, and whether it may wait.
            on_progress: Called while it waits.
            sandbox: True for calls to the sandbox, to which no limit applies.

        Raises:
            BudgetExceededError: It could cost more than a limit allows.
            SpendingRecordError: A limit is set, and the record cannot be used.
            SettingsError: The limits cannot be read.
        """
        budgets = Budgets() if sandbox else await self._limits()
        calls = [self._planned(call) for call in plan.calls]
        if not sandbox:
            check_request(plan, calls, budgets, purse)
        if self._record is None:
            yield Reserved(calls, (None,) * len(calls))
            return
        found = Reserved(calls, ())
        try:
            found = await self._with_room(plan, calls, budgets, purse, on_progress, sandbox)
            yield found
        finally:
            for number in found.left:
                self._record_soon(partial(self._settle, number, Settlement(state="not_charged", error="cancelled")))

    def check(self, plan: Plan, purse: Purse) -> None:
        """Raise what ``reserved`` would raise now; nothing is reserved. It may wait for the disk."""
        budgets, calls = self._budgets(), [self._planned(call) for call in plan.calls]
        check_request(plan, calls, budgets, purse)
        if self._record and budgets.are_set:
            try:
                self._record.check(calls, purse.payer, budgets)
            except LimitExceededError as error:
                raise limit_exceeded(plan, error.refusal) from None

    @asynccontextmanager
    async def call(
        self, reserved: Reserved, place: int, prices: Prices, on_progress: Callable[[Progress], None]
    ) -> AsyncIterator[Callable[[Progress], None]]:
        """Follow one call while the block runs, and settle it; yields a function that passes its progress on.

        However the block ends: a call that is cancelled after something of it was sent may have been charged.

        Args:
            reserved: The calls of the request.
            place: Which of them this is, from 0.
            prices: The prices of its model.
            on_progress: What its progress is passed on to.
        """
        number = reserved.ids[place]
        is_sent = False
        end: Settlement | None = None
        images: tuple[GeneratedImage, ...] = ()

        def report(progress: Progress) -> None:
            nonlocal is_sent, end, images
            match progress:
                case Sending():
                    is_sent = True
                    if number is not None:
                        self._record_soon(partial(self._note_sent, number))
                case Retrying():
                    is_sent = False
                case Received():
                    end, images = _settlement(progress), progress.images
                case Failed(reason=error):
                    end = _failure(error, reserved.calls[place], prices)
            on_progress(progress)

        try:
            yield report
        except _BEFORE_SENDING as error:
            end = end or Settlement(state="not_charged", error=error.code)
            raise
        finally:
            end = end or Settlement(state="unconfirmed" if is_sent else "not_charged", error="cancelled")
            if number is not None:
                reserved.left.discard(number)
                self._record_soon(partial(self._settle, number, end, images))
            if notice := overrun(reserved.calls[place], end):
                reserved.notices.append(notice)

    async def settled(self) -> tuple[Notice, ...]:
        """Wait until the record has the end of all calls that have ended; return a notice for each that it could not
        get since this was last called.
        """
        await self._recorded_all()
        lost, self._not_recorded = self._not_recorded, {}
        return tuple(lost)

    async def _recorded_all(self) -> None:
        if self._recording:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(wait, list(self._recording))

    async def aclose(self) -> None:
        """Close the record. Nothing is waited for if it was not used."""
        await self._recorded_all()
        if self._thread:
            self._thread.shutdown()
            self._thread = None
        if self._record and self._record.is_in_use:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._record.close)

    def _planned(self, call: Call) -> PlannedCall:
        price = estimate_of(call).total
        since = call.model.prices.since or call.model.prices_as_of
        return PlannedCall(
            provider=call.model.provider,
            model=call.model.id,
            n=call.n,
            expected=nano(expected_of(call)),
            at_most=at_most_nano(price.at_most_usd),
            basis=price.basis,
            size=str(call.size.size) if call.size.size else call.size.image_size,
            quality=call.quality,
            prices_of=since.isoformat() if since else None,
            prompt=call.prompt if self._records_prompts else None,
        )

    async def _with_room(
        self,
        plan: Plan,
        calls: Sequence[PlannedCall],
        budgets: Budgets,
        purse: Purse,
        on_progress: Callable[[Progress], None],
        sandbox: bool,
    ) -> Reserved:
        """The calls, as soon as the limits have room for them; raises BudgetExceededError if they will not have it."""
        if budgets.are_set:
            # What has ended counts at what it cost, and not at the most that it could.
            await self._recorded_all()
        deadline = self._clock() + (budgets.wait_s if purse.may_wait else 0.0)
        withdraw = purse.withdraw
        while True:
            is_last = withdraw is None and self._clock() >= deadline
            try:
                with anyio.CancelScope(shield=True):
                    found = await anyio.to_thread.run_sync(
                        partial(self._reserved, calls, budgets, purse, sandbox, records_refusal=is_last)
                    )
            except LimitExceededError as error:
                refusal = error.refusal
            else:
                if budgets.models:
                    found.notices += limits_to_move(budgets, self._registry(), plan.model)
                return found
            if withdraw:
                # In a thread: in Invoke it waits for a lock, whose owner may wait for the event loop.
                if await anyio.to_thread.run_sync(withdraw):
                    raise limit_exceeded(plan, refusal)
                withdraw = None
                continue
            if is_last:
                raise limit_exceeded(plan, refusal)
            if not await anyio.to_thread.run_sync(self._may_leave_room, refusal):
                deadline = self._clock()
                continue
            on_progress(Waiting(0, len(calls), refusal.limit.name))
            await self._sleep(_LOOK_AGAIN_S)
            # Meanwhile the limit may have been raised.
            budgets = await self._limits()

    async def _limits(self) -> Budgets:
        """The limits now. A file that has changed is read in a thread, since an editor may be saving it."""
        known = self._budgets.unchanged()
        return await anyio.to_thread.run_sync(self._budgets) if known is None else known

    def _may_leave_room(self, refusal: Refusal) -> bool:
        """True if the end of calls in progress of this program could leave enough of a limit."""
        assert self._record
        others = refusal.amounts.used - self._record.in_progress_here(refusal.limit)
        return others + refusal.could_cost <= refusal.limit.amount

    def _reserved(
        self,
        calls: Sequence[PlannedCall],
        budgets: Budgets,
        purse: Purse,
        sandbox: bool,
        *,
        records_refusal: bool,
    ) -> Reserved:
        assert self._record
        if not budgets.are_set and not self._record.path.parent.is_dir():
            # A mistyped folder is not created.
            missing = [_no_folder(self._record.path)] if lacks_folder(self._record.path) and not sandbox else []
            return Reserved(calls, (None,) * len(calls), notices=missing)
        try:
            if not self._has_looked_back:
                for notice in notices_of(call for call in self._record.release_ended() if not call.sandbox):
                    _log.warning("%s", notice.message)
                self._has_looked_back = True
            reservation = self._record.reserve(
                calls, purse.payer, budgets, sandbox=sandbox, records_refusal=records_refusal
            )
        except SpendingRecordError as error:
            if budgets.are_set:
                raise
            notice = Notice("not_recorded", f"{error.message} The cost is not recorded.")
            return Reserved(calls, (None,) * len(calls), notices=[notice])
        return Reserved(calls, reservation.ids, set(reservation.ids), [*map(warning, reservation.warned)])

    def _record_soon(self, record: Callable[[], None]) -> None:
        """Record something in a thread, one after the other: the images are handed over meanwhile.

        The event loop would wait for the disk, and for the hash of a large image. The end of Python waits for it, too.
        """
        self._thread = self._thread or ThreadPoolExecutor(1, "invokeai_external spending record")
        task = self._thread.submit(self._recorded, record)
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    def _recorded(self, record: Callable[[], None]) -> None:
        try:
            record()
        except Exception as error:
            # Nobody expected it. The call counts as in progress, and then as one that may have been charged.
            _log.error(_NOT_RECORDED, exc_info=error)
            self._not_recorded[Notice("not_recorded", _NOT_RECORDED)] = None

    def _note_sent(self, number: int) -> None:
        assert self._record
        # It counts as before if this is lost.
        with suppress(SpendingRecordError):
            self._record.sent(number)

    def _settle(self, number: int, end: Settlement, images: Sequence[GeneratedImage] = ()) -> None:
        assert self._record
        hashes = tuple(hashlib.sha256(image.data).hexdigest() for image in images)
        try:
            self._record.settle(number, replace(end, image_hashes=hashes))
        except SpendingRecordError as error:
            # It counts as in progress, and then as one that may have been charged.
            self._not_recorded[Notice("not_recorded", f"{error.message} {_NOT_RECORDED}")] = None
            _log.warning("%s %s", error.message, _NOT_RECORDED)


def _no_folder(record: Path) -> Notice:
    return Notice(
        "not_recorded",
        f"There is no folder {record.parent}, so the cost is not recorded and no limit applies. Create "
        "it, or correct its name: in --root, INVOKEAI_ROOT or the setting spending_record.",
    )


def _settlement(received: Received) -> Settlement:
    """How a call ended that made images; one whose cost is unknown may have been charged up to the most that it can."""
    cost = nano(received.cost_usd)
    return Settlement(
        state="unconfirmed" if cost is None else "charged",
        cost=cost,
        cost_from=received.cost_from,
        computed=nano(received.computed_usd),
        usage=received.usage,
        images=len(received.images),
        request_id=received.request_id,
    )


_BEFORE_SENDING = (NotConfiguredError, ServiceStateError, SettingsError)
"""What is raised of a token, a client, a proxy or certificates that cannot be used, so that nothing was sent."""

_OF_THE_ACCOUNT = (AuthenticationError, QuotaError, ModelRetiredError)
"""Errors of which no image is made, whatever the status of the response that has them."""

_SENT_ELSEWHERE = frozenset({301, 307, 308})
"""Statuses that ask for the same request at another URL (RFC 9110, 15.4): it was not carried out here."""


def with_billing(error: ProviderError) -> ProviderError:
    """The error of a call, which says so if the call may have been charged: also if its response calls itself a
    success. The record counts it by that.
    """
    is_success = error.status is not None and error.status < 400 and error.status not in _SENT_ELSEWHERE
    if error.may_be_billed or error.never_sent or not is_success or isinstance(error, _OF_THE_ACCOUNT):
        return error
    remedy = error.remedy or Remedy("")
    text = f"{remedy.text} It may have been billed.".lstrip()
    return error.replace(may_be_billed=True, remedy=replace(remedy, text=text))


def _failure(error: ProviderError, planned: PlannedCall, prices: Prices) -> Settlement:
    """How a call ended that failed.

    If the response reports its tokens, it is no more than these cost.
    """
    at_most = nano(cost_usd(error.usage, prices)) if error.usage and planned.at_most is not None else None
    return Settlement(
        state="unconfirmed" if error.may_be_billed else "not_charged",
        usage=error.usage,
        request_id=error.request_id,
        error=error.code,
        at_most=None if at_most is None else min(at_most, planned.at_most or 0),
    )


def payments_of(
    settings: Settings,
    registry: Callable[[], Registry],
    *,
    sandbox: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> Payments:
    """The limits and the record of a root folder; for the sandbox there is neither, and the record may be off."""
    path = None if sandbox else record_path(settings)
    if path is None:
        return Payments(None, LiveBudgets(settings))
    from ..spending.record import SpendingRecord

    return Payments(
        SpendingRecord(path),
        LiveBudgets(settings),
        records_prompts=settings.limits.record_prompts,
        registry=registry,
        clock=clock,
        sleep=sleep,
    )

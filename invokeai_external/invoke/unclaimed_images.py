"""Decides where the images of a run go, so that no paid image is lost: node, result cache, gallery or file.

Every result is written into the result cache, and stays there until its node has saved its images in the gallery, so
that a kill in between loses no image. If no node does that, the next equal request gets them, or the gallery once
no node will request the same. A result that waits for its turn is only on the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread

from ..errors import CancelledError, NotSavedError
from ..request import GenerationRequest
from ..result import GeneratedImage, GenerationResult
from .gallery.fallback import FallbackFolder, reason_of
from .gallery.images_of_cancelled_runs import Undelivered, deliver
from .gallery.originals import Originals
from .gallery.result_cache import Destination, Handover, KeptImages, ResultCache, with_cache_notice
from .host_api import Host
from .log import log
from .look_ahead.run_table import Run, RunKey

__all__ = ["RunImages", "partial_result"]


class RunImages:
    """Decides who gets the images of a run. May be used from any thread.

    Args:
        host: The running Invoke.
        originals: Returns the folder for signed originals; called for each delivery, since settings change.
    """

    def __init__(self, host: Host, originals: Callable[[], Originals]) -> None:
        self._host = host
        self._originals = originals
        self._cache = ResultCache(host.root)
        # Decides between a run that ends and a node that leaves it. It is never held for long: the event loop waits.
        self._lock = threading.Lock()

    def cached_run(self, key: RunKey, destination: Destination, *, is_claimed: bool) -> Run | None:
        """A run that has a cached result of an equal request, which is reserved for it; None if no result is cached."""
        if not (entry := self._cache.acquire(key.fingerprint)):
            return None
        # An entry that cannot be read stays acquired, and stays on the disk: its images may be complete.
        if not (result := self._cache.read(entry)):
            return None
        run = Run(result.provider, 1, is_claimed=is_claimed, key=key, destination=destination, cache_entry=entry)
        result = with_cache_notice(result)
        run.future.set_result(result if is_claimed else _without_data(result))
        run.ended.set()
        return run

    async def store(self, result: GenerationResult, run: Run, fingerprint: str, before_end: Callable[[], None]) -> None:
        """Store the result of a run.

        Args:
            result: The result, or the part of it that was received.
            run: The run.
            fingerprint: The fingerprint of its request.
            before_end: Called when the result is stored, before the run counts as ended: a stop of Invoke waits for the
                end of the run, and records nothing after it.
        """
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._write, result, run, fingerprint, before_end)

    def waiting(self, result: GenerationResult, run: Run) -> GenerationResult:
        """What to hold in memory of the result of a run: no image that is on the disk and waits for its turn."""
        if run.cache_entry is None or run.is_claimed:
            return result
        run.received.clear()
        return _without_data(result)

    def loaded(self, result: GenerationResult, run: Run) -> GenerationResult:
        """The result of a run with its images; raises NotSavedError if they can no longer be read from the disk."""
        if run.cache_entry is None or all(image.data for image in result.images):
            return result
        if (stored := self._cache.read(run.cache_entry)) is None:
            raise NotSavedError(
                f"An image that was paid for cannot be read any more: {run.cache_entry}.",
                remedy="Look at the files in that folder, or press Retry on this item in the queue and pay again.",
            )
        pairs = zip(result.images, stored.images, strict=True)
        return replace(result, images=tuple(replace(image, data=found.data) for image, found in pairs))

    def abandon(self, run: Run, *, is_item_gone: bool) -> None:
        """Store the images of a run that no node will use: now, or when the run ends.

        They go into the gallery if its queue item is gone; otherwise they wait in the cache for an equal request, which
        mostly comes from that item.
        """
        with self._lock:
            has_ended = run.ended.is_set()
            run.is_claimed, run.is_abandoned, run.is_item_gone = False, True, is_item_gone
        if has_ended:
            self._store_abandoned(run)

    @contextmanager
    def handing_over(self, run: Run) -> Iterator[Handover]:
        """Save the images of a run in this block. The cache keeps them unless the block says that it is done."""
        handover = Handover(run.cache_entry)
        try:
            yield handover
        finally:
            if run.cache_entry:
                (self._cache.remove if handover.is_done else self._cache.release)(run.cache_entry)

    def deliver_expired(self) -> None:
        """Put cached results that no node requested within a day into the gallery, unless a queued item needs them."""
        queued = {item.id for item in self._host.queued_items()}
        has_several_users = self._host.has_several_users()

        def is_wanted(destination: Destination | None) -> bool:
            if destination is None:
                # Version 0.1 recorded neither the owner nor the item.
                return has_several_users or bool(queued)
            return destination.item in queued

        for entry, destination in self._cache.acquire_expired(is_wanted):
            if not self._deliver_entry(entry, destination or Destination("system")):
                self._cache.release(entry)

    def kept(self) -> list[KeptImages]:
        """The images that wait for a retry. Those of an item that is still in the queue come at its turn."""
        waiting = list(self._cache.waiting())
        queued = {item.id for item in self._host.queued_items()} if waiting else set()
        return [kept for kept in waiting if kept.destination.item not in queued]

    def _write(self, result: GenerationResult, run: Run, fingerprint: str, before_end: Callable[[], None]) -> None:
        entry = None
        try:
            entry = self._cache.store(fingerprint, result, run.destination)
        # Whatever it is, the node can still have the images, which were paid for.
        except Exception as error:
            log.warning(
                "invokeai_external could not store an image until the gallery has it: %s. It is in memory only.",
                reason_of(error),
            )
        before_end()
        with self._lock:
            run.cache_entry = entry
            run.ended.set()
            is_abandoned = run.is_abandoned
        # Its node may have left it in the meantime.
        if is_abandoned:
            self._store_abandoned(run)

    def _store_abandoned(self, run: Run) -> None:
        """Store the images of a run that has ended and that no node will use."""
        if run.cache_entry:
            destination = run.destination if run.is_item_gone else None
            if destination is None or not self._deliver_entry(run.cache_entry, destination):
                self._cache.release(run.cache_entry)
        # They are only in memory.
        elif run.received and run.destination:
            undelivered = self._deliver(run.received, run.destination)
            if undelivered.images:
                self._save_as_files(undelivered, run.destination.user, None)

    def _deliver_entry(self, entry: Path, destination: Destination) -> bool:
        """Put a cached result that is acquired into the gallery; False if that failed and it stays in the cache."""
        if not (result := self._cache.read(entry)):
            return False
        undelivered = self._deliver(result.images, destination)
        if undelivered.may_be_saved_later and len(undelivered.images) == len(result.images):
            log.warning(
                "invokeai_external: the images of a cancelled run could not be saved in the gallery: %s. They are in"
                " %s.",
                undelivered.reason,
                entry,
            )
            return False
        # Some are in the gallery, and the next attempt would save those again; or it never could save any.
        if undelivered.images and self._save_as_files(undelivered, destination.user, entry):
            return False
        self._cache.remove(entry)
        return True

    def _deliver(self, images: Sequence[GeneratedImage], destination: Destination) -> Undelivered:
        """Put the images of a cancelled run into the gallery; logs how many were saved."""
        undelivered = deliver(images, destination, self._originals(), self._host)
        if count := len(images) - len(undelivered.images):
            log.info("invokeai_external: images of a cancelled run that were saved in the gallery: %s.", count)
        return undelivered

    def _save_as_files(self, undelivered: Undelivered, user: str, entry: Path | None) -> int:
        """Save images of a user as files that the gallery could not save; logs where. Returns how many are lost, or are
        only in their entry of the cache.
        """
        owner = user if self._host.has_several_users() else None
        saved = FallbackFolder(self._host.root, owner).save(undelivered.images, entry)
        log.error(
            "invokeai_external: the images of a cancelled run could not be saved in the gallery: %s. %s",
            undelivered.reason,
            saved.message,
        )
        return saved.not_written


def _without_data(result: GenerationResult) -> GenerationResult:
    return replace(result, images=tuple(replace(image, data=b"") for image in result.images))


def partial_result(request: GenerationRequest, run: Run) -> GenerationResult:
    """The images received when a run was cancelled."""
    provider, _, model = (request.model or "").partition("/")
    error = CancelledError(
        f"The run was cancelled after {len(run.received)} of {request.n} images.",
        remedy="Run it again for the remaining images.",
    )
    return GenerationResult(
        provider=provider,
        model=model,
        images=tuple(run.received),
        notices=(),
        usage=None,
        cost_usd=None,
        request_ids=(),
        errors=(error,),
        elapsed_s=0.0,
    )

"""The sandbox's own routes: queue faults, and read the received requests."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from .faults import FAULTS, read_fault
from .state import state_of

__all__ = ["router"]

router = APIRouter(prefix="/sandbox")


@router.post("/faults")
async def queue_fault(request: Request) -> Response:
    """Queue a fault; 422 with a reason if the body is not valid."""
    try:
        provider, fault, times = read_fault(json.loads(await request.body() or b"null"))
    except ValueError as error:
        return JSONResponse({"error": str(error)}, status_code=422)
    faults = state_of(request).faults
    faults.add(provider, fault, times)
    return JSONResponse({"waiting": faults.waiting()}, status_code=201)


@router.get("/faults")
async def list_faults(request: Request) -> Response:
    """The table of faults, and how many are queued."""
    table = {
        name: {
            "summary": kind.summary,
            "providers": list(kind.providers),
            "params": {key: {"default": p.default, "choices": list(p.choices)} for key, p in kind.params.items()},
        }
        for name, kind in FAULTS.items()
    }
    return JSONResponse({"waiting": state_of(request).faults.waiting(), "faults": table})


@router.delete("/faults")
async def clear_faults(request: Request) -> Response:
    """Delete all queued faults."""
    state_of(request).faults.clear()
    return Response(status_code=204)


@router.get("/requests")
async def list_requests(request: Request) -> Response:
    """The received requests, oldest first."""
    return JSONResponse({"requests": state_of(request).calls.all()})


@router.delete("/requests")
async def clear_requests(request: Request) -> Response:
    """Delete the log of received requests."""
    state_of(request).calls.clear()
    return Response(status_code=204)

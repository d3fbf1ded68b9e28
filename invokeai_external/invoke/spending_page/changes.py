"""Who may change something over the page's routes: the page itself, and programs, but no page of another site."""

from __future__ import annotations

from fastapi import Depends, HTTPException, Request

__all__ = ["CHANGES"]

_HEADER = "X-InvokeAI-External"


def _from_this_page(request: Request) -> None:
    """Refuse a change that a page of another site asks for; one with several users needs their token as well.

    A browser asks before it sends this header or JSON to another site, and Invoke does not allow that.
    """
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    is_json = request.headers.get("Content-Type", "").partition(";")[0].strip() == "application/json"
    if site != "same-origin" or _HEADER not in request.headers or not is_json:
        raise HTTPException(403, f"Send JSON with the header {_HEADER}, from a page of this Invoke or from no page.")


CHANGES = [Depends(_from_this_page)]
"""What every route that changes something depends on, beside the check of the user."""

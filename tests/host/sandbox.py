"""The sandbox as a client sees it: order faults, and read the received calls."""

from __future__ import annotations

from typing import Any

import httpx


class Sandbox:
    """The sandbox that the running Invoke uses in place of both providers.

    Attributes:
        url: Its URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # Requests to this computer need no certificates.
        self._http = httpx.Client(base_url=f"{url}/sandbox", timeout=10, verify=False)

    def clear(self) -> None:
        """Forget ordered faults and received calls."""
        for path in ("/faults", "/requests"):
            self._http.delete(path).raise_for_status()

    def order(self, provider: str, fault: str, times: int = 1, **parameters: object) -> None:
        """Order a fault for the next calls: ``order("openai", "slow", seconds=30)``."""
        body = {"provider": provider, "fault": fault, "times": times, **parameters}
        response = self._http.post("/faults", json=body)
        assert response.status_code == 201, response.text

    def calls(self) -> list[dict[str, Any]]:
        """The calls for images so far, oldest first; a call for the list of models does not count."""
        return [call for call in self.all_calls() if call["method"] == "POST"]

    def in_flight(self) -> int:
        """The number of calls for images without a response yet."""
        return sum(call["outcome"] is None for call in self.calls())

    def all_calls(self) -> list[dict[str, Any]]:
        """All calls so far, oldest first."""
        calls: list[dict[str, Any]] = self._http.get("/requests").raise_for_status().json()["requests"]
        return calls

    def close(self) -> None:
        self._http.close()

"""The sandbox from outside: orders for faults, and the calls that it received."""

from __future__ import annotations

from typing import Any

import httpx


class Sandbox:
    """The sandbox that the running Invoke sends its requests to, in place of both providers.

    Attributes:
        url: Its address.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # No certificates are needed for this machine.
        self._http = httpx.Client(base_url=f"{url}/sandbox", timeout=10, verify=False)

    def clear(self) -> None:
        """Forget ordered faults and received calls."""
        for path in ("/faults", "/requests"):
            self._http.delete(path).raise_for_status()

    def order(self, provider: str, fault: str, times: int = 1, **parameters: object) -> None:
        """Order a fault for the next calls: ``order("openai", "slow", seconds=30)``."""
        body = {"provider": provider, "fault": fault, "times": times, **parameters}
        answer = self._http.post("/faults", json=body)
        assert answer.status_code == 201, answer.text

    def calls(self) -> list[dict[str, Any]]:
        """The calls for pictures so far, oldest first; listing the models is none."""
        return [call for call in self.all_calls() if call["method"] == "POST"]

    def in_flight(self) -> int:
        """How many calls for pictures wait for their answer."""
        return sum(call["outcome"] is None for call in self.calls())

    def all_calls(self) -> list[dict[str, Any]]:
        """All calls so far, oldest first."""
        answer: list[dict[str, Any]] = self._http.get("/requests").raise_for_status().json()["requests"]
        return answer

    def close(self) -> None:
        self._http.close()

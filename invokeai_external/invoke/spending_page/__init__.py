"""The page at ``/external`` in Invoke: what images cost, what needs the user, and the limits."""

"""The saved workflows."""

from __future__ import annotations

from invokeai.app.api.dependencies import ApiDependencies

__all__ = ["saved_workflows"]


def saved_workflows(containing: str) -> list[str]:
    """The JSON of all saved workflows, of all users, with a text in it.

    Invoke's own functions list them page by page without their nodes, and mark each that is read as opened.
    """
    queue = ApiDependencies.invoker.services.session_queue
    with queue._db.transaction() as cursor:
        cursor.execute("SELECT workflow FROM workflow_library WHERE instr(workflow, ?)", (containing,))
        return [str(row[0]) for row in cursor.fetchall()]

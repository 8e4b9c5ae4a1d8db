"""A relay that holds still at one step for as long as the test wants: what is waited for then is known."""
import threading

from .scripted import ScriptedRelay


class HoldingRelay(ScriptedRelay):
    """Holds at `step` (one of scripted.STEPS, "body" for not reading) from hold() until release()."""

    def __init__(self, holds_at=None, **keys):
        self.holds_at = holds_at
        self.gate = threading.Event()
        self.gate.set()
        self.refusal = None  # said to MAIL instead of 250
        super().__init__(**keys)

    def hold(self):
        self.gate.clear()

    def release(self):
        self.gate.set()

    def due(self, step, only=None, but=None):
        if step == self.holds_at and only is None:
            self.gate.wait(120)
        return super().due(step, only, but)

    def reply_to(self, step):
        return self.refusal if step == "mail" else None

"""How fast a run goes, beside what was forecast of it."""

import statistics
from collections import deque

from nsutils.cost import Cost
from nsutils.settings import Settings
from nsutils.sources import Shape
from nsutils.transfer import Step


class Pace:
    """Seconds that steps take, as one after the other is seen.

    `seconds` is from before the first step to the last; images of more than `whole` pixels are seen in pieces.
    """

    def __init__(self, cost: Cost, whole: int | None):
        self.cost, self.whole = cost, whole
        self.seconds = self._foreseen = 0.0
        self._weighing = 0.0  # of the seconds, those that went into finding the gradient's shares
        self._moments: deque[tuple[float, float]] = deque(maxlen=10)
        self._took: dict[Shape, list[float]] = {}

    def see(self, step: Step, seconds: float) -> None:
        """Takes note of a step that was made `seconds` after the first was begun."""
        took, self.seconds = seconds - self.seconds, seconds
        shape = step.shape
        self._foreseen += self.cost.step(shape, self.whole)
        if shape not in self._took:
            self._foreseen += self.cost.beginning(shape)
            self._took[shape] = []
        if step.shares:
            self._weighing += took if self._moments else 0.0  # the first step is a slow one
        else:
            self._took[shape].append(took)
        self._moments.append((seconds, self._foreseen))

    @property
    def speed(self) -> float:
        """Steps a second, over the last few."""
        if len(self._moments) < 2:
            return 0.0
        return (len(self._moments) - 1) / max(1e-9, self._moments[-1][0] - self._moments[0][0])

    def left(self, aim: Settings, step: Step) -> float:
        """What the steps to make cost by the forecast, as much more or less as the last ones did.

        At another scale half as much more or less: what slows small images down need not slow down large ones.
        """
        slower, ahead = 1.0, self.cost.ahead(aim, step, self.whole)
        if len(self._moments) > 1:
            (since, foreseen), (now, all_foreseen) = self._moments[0], self._moments[-1]
            slower = (now - since) / (all_foreseen - foreseen)
        return sum(
            seconds * (slower if shape == step.shape else (1 + slower) / 2)
            for shape, seconds in ahead
        )

    def weighs(self, share: float) -> bool:
        """Whether the next step may find its gradient's shares, if so much of the time may go into that."""
        return bool(share) and self._weighing <= share * self.seconds

    def teach(self, weighed: bool) -> None:
        """Tells the forecast what steps took that were all alike, and, if none was `weighed`, what the first did."""
        for (height, width), took in self._took.items():
            if len(took) > 3:
                usual = statistics.mean(took[1:])
                self.cost.learn(height * width, usual, None if weighed else took[0] - usual)

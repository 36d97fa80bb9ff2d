"""What a person should be told while a run goes: shapes that are lost, a style that does not come, nothing to gain."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from nsutils import faces, pictures
from nsutils.colours import LIGHT
from nsutils.faces import HEAD_AND_SHOULDERS, Box
from nsutils.settings import Settings
from nsutils.sources import Shape, as_weights, content_of, mask_of
from nsutils.transfer import Step, same_objective

EACH = 5  # steps between two looks
EDGE = 96  # pixels: the long edge at which shapes are compared, whatever the run's size
WINDOW, FLAT = 7, 0.02  # pixels of a neighbourhood; a contrast below which it has no shape
# Of what is protected, and of the whole picture, too little structure. Measured on three people in five styles: of 104
# pictures all whose person was lost were below the first a third of the way, and two whose person was not.
LOST, LOST_ALL = 0.75, 0.45
# Of the steps: before the first shapes come and go; after the second noise has some, and the style has come.
EARLY, LATE = 0.3, 0.6
STRANGE = 0.5  # of the most style loss there was: above it, the style has not come
# A change of light that is just seen, and of the pixels, that change less.
SEEN, NEARLY_ALL = 2.5 / 255, 0.98
MOST = 16  # pictures remembered for that
STILL = 40  # steps without such a change, after which it is said
PREVIEW = 192  # pixels: the long edge of a preview, at most
# Of a picture and its preview: structure, difference of colour, and of how many patches a side.
ALIKE, TINGED, PATCHES = 0.65, 30 / 255, 12


class Watch:
    """Looks at the steps of a run of these settings. `word` is what to say of it now, a sentence or nothing.

    `found` are the faces in the content: the largest is looked after where no mask says what to. `strangest` is the
    most style loss that the run had before.
    """

    def __init__(self, settings: Settings, found: Sequence[Box] = (), strangest: float = 0.0):
        content = content_of(settings)
        self.content, self.word = pictures.to_tensor(content), ""
        people = [faces.around(box, HEAD_AND_SHOULDERS) for box in found[:1]]
        self.face = faces.mask_of(people, content.size) if people else None
        self._strangest, self._past = strangest, []
        self._preview: Step | None = None

    def see(self, step: Step) -> str:
        """Takes notice of a step; the word."""
        self._strangest = max(self._strangest, step.losses["style"])
        if max(step.shape) <= PREVIEW:
            self._preview = step
        if step.number % EACH == 0 or step.number == step.settings.steps:
            looks = (self.lost, self.strange, self.unlike, self.still)
            self.word = next((word for look in looks if (word := look(step))), "")
        return self.word

    def lost(self, step: Step) -> str:
        """Whether the content's shapes go, first where they are to be protected."""
        settings = step.settings
        begun = EARLY if settings.init == "content" else LATE
        if step.number < begun * settings.steps or not settings.content_weight:
            return ""
        place = mask_of(settings) or self.face
        left = max(0.0, structure(step.image, self.content, place))
        if left >= (LOST if place else LOST_ALL):
            return ""
        what = "What is protected" if settings.mask else "The face" if place else "The content"
        return (
            f"{what} is being lost, {left:.0%} of its shapes are left: {remedy(settings, place)}."
        )

    def strange(self, step: Step) -> str:
        """Whether the style has not come though most steps are made."""
        late = step.number > LATE * step.settings.steps and step.settings.style_weight
        if late and step.losses["style"] > STRANGE * self._strangest:
            return "The style has hardly come yet: move Style weight up, or Content weight down."
        return ""

    def still(self, step: Step) -> str:
        """Whether the picture has stopped changing visibly, at its last size."""
        seen = light(step.image, pictures.fitted(step.shape, 2 * EDGE))
        alike = [
            (number, old)
            for number, old in self._past
            if old.shape == seen.shape and (old - seen).abs().quantile(NEARLY_ALL) < SEEN
        ]
        # The first counts; of the others enough to go on from when it is left behind.
        self._past = [*alike[:: 1 + (len(alike) > MOST)], (step.number, seen)]
        since = step.number - self._past[0][0]
        if since < STILL:
            return ""
        return (
            f"The last {since} steps changed the picture by less than a person sees: more iterations "
            "will not help; try another Style weight, or other layers."
        )

    def unlike(self, step: Step) -> str:
        """Whether the finished picture has become another than its preview, under the same settings."""
        early, ended = self._preview, step.number == step.settings.steps
        if not ended or not early or not same_objective(early.settings, step.settings):
            return ""
        patches = [F.adaptive_avg_pool2d(each.image.cpu(), PATCHES) for each in (early, step)]
        tinge = (patches[0] - patches[1]).square().mean().sqrt().item()
        if structure(step.image, early.image.cpu()) > ALIKE and tinge < TINGED:
            return ""
        return (
            "The picture has become another than its small preview: judge the weights by this one."
        )


def remedy(settings: Settings, place: Image.Image | None) -> str:
    """Which slider keeps shapes."""
    if place and not settings.mask:
        return "mark it under Protect, or choose the settings of: portrait"
    if place and settings.protection < 0.6:
        return "move Protection up"
    if settings.laplacian_weight < 0.3:
        return "move Contours (laplacian_weight) up"
    return "move Content weight up, or Style weight down"


def structure(image: Tensor, content: Tensor, place: Image.Image | None = None) -> float:
    """How much of the content's shapes an image has, 1 all, 0 none, -1 their negative; both (1, 3, H, W) of any size.

    SSIM's third factor (Wang et al. 2004, eq. 10), the correlation of neighbourhoods, of both made 96 pixels long, a
    mean weighted by the content's contrast, within the white of `place` if there is one. So colour, light and
    contrast may change and strokes may come without a loss. 1 where the content has no shapes.
    """
    shape = pictures.fitted(content.shape[-2:], EDGE)
    wanted, painted = light(content, shape), light(image, shape)
    shared = blurred(wanted * painted) - blurred(wanted) * blurred(painted)
    spread = deviation(wanted)
    alike = (shared + FLAT**2) / (spread * deviation(painted) + FLAT**2)
    there = as_weights(place, shape) if place else torch.ones_like(spread)
    weight = spread * there
    if weight.sum() <= FLAT * there.sum():
        return 1.0  # there is nothing to lose
    return ((alike * weight).sum() / weight.sum()).item()


def light(image: Tensor, shape: Shape) -> Tensor:
    """The image's Y at a smaller shape."""
    weights = torch.tensor(LIGHT, dtype=torch.float32).view(1, 3, 1, 1)
    return F.adaptive_avg_pool2d((image.cpu().clamp(0, 1) * weights).sum(1, keepdim=True), shape)


def deviation(x: Tensor) -> Tensor:
    return (blurred(x * x) - blurred(x).square()).relu().sqrt()


def blurred(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, WINDOW, 1, WINDOW // 2, count_include_pad=False)

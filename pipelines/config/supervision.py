"""Section `supervision`: what the model may learn from."""

from typing import Literal

from pipelines.config.section import NonNegative, Section, Share, setting


class Noise(Section):
    """Proportions made worse on purpose (SPSS, section 3.2): first noise, then clusters.

    Attributes:
        sigma: Standard deviation of the Gaussian noise on each class's proportion; 0 is none.
        normalise: How noisy values become proportions again: softmax (the paper's) or clip (and divide by the sum).
        clusters: Give all images of a k-means cluster the proportions of one of them; null is off.
    """

    sigma: NonNegative = setting(0.0, expected="a number from 0")
    normalise: Literal["softmax", "clip"] = setting("softmax", expected="softmax or clip")
    clusters: int | None = setting(None, expected="null or a whole number from 1", ge=1)

    @property
    def active(self) -> bool:
        """Whether proportions are made worse at all."""
        return self.sigma > 0 or self.clusters is not None


class Sampling(Section):
    """Keypoints taken from masks, or made from labelled points.

    Attributes:
        per_class: Keypoints of each class that occurs in an image; for keypoints from masks only.
        radius: Radius in pixels of the disc that a keypoint grows to.
    """

    per_class: int = setting(3, expected="a whole number from 1", ge=1)
    radius: int = setting(2, expected="a whole number of pixels from 0", ge=0)


class Coarsening(Section):
    """Coarse labels made from masks (see `weakseg.supervision.coarsen`).

    Attributes:
        erosion: Pixels of the original image by which every region shrinks on all sides.
        tolerance: How far a polygon may lie from the outline, as a share of the outline's length.
    """

    erosion: int = setting(12, expected="a whole number of pixels from 0", ge=0)
    tolerance: NonNegative = setting(0.005, expected="a number from 0")


class Shares(Section):
    """Which share of the training images brings each kind; drawn by the seed, one kind independent of another.

    Attributes:
        masks: Share with full masks.
        coarse: Share with coarse labels.
        proportions: Share with proportions.
        keypoints: Share with keypoints from masks.
    """

    masks: Share = setting(1.0, expected="a share from 0 to 1")
    coarse: Share = setting(1.0, expected="a share from 0 to 1")
    proportions: Share = setting(1.0, expected="a share from 0 to 1")
    keypoints: Share = setting(1.0, expected="a share from 0 to 1")


class Supervision(Section):
    """The kinds of labels that training reads, in any combination; each image brings what it has.

    Attributes:
        points: Single labelled pixels or segments, asked for in rounds.
        masks: Full masks of the training split.
        proportions: Class proportions: null, masks (counted in them), people (asked on a page), or a CSV file
            (image_id, one column per class).
        coarse: Coarse labels: null, masks (made from them), layout (the data set's own), people (who draw them on a
            page), or a JSON file of polygons.
        keypoints: Keypoints: null, masks (sampled from them), or labels (the points asked for).
        spread: segment gives a point's label to the rest of its superpixel; null is off.
        noise: Proportions made worse on purpose.
        keypoint: How keypoints are sampled and how large they are.
        coarsening: How coarse labels are made from masks.
        share: Which share of the images brings each kind.
    """

    points: bool = setting(True, expected="true or false")
    masks: bool = setting(False, expected="true or false")
    proportions: str | None = setting(None, expected="null, masks, people or a CSV file", min_length=1)
    coarse: str | None = setting(None, expected="null, masks, layout, people or a JSON file", min_length=1)
    keypoints: Literal["masks", "labels"] | None = setting(None, expected="null, masks or labels")
    spread: Literal["segment"] | None = setting(None, expected="null or segment")
    noise: Noise = setting(Noise(), expected="a section of fields")
    keypoint: Sampling = setting(Sampling(), expected="a section of fields")
    coarsening: Coarsening = setting(Coarsening(), expected="a section of fields")
    share: Shares = setting(Shares(), expected="a section of fields")

    @property
    def counted_anew(self) -> bool:
        """Whether class proportions are those of the masks, so that they are counted anew for what a crop leaves."""
        return self.proportions == "masks" and not self.noise.active

    @property
    def proportions_file(self) -> str | None:
        """The file of proportions, if that is where they come from."""
        return None if self.proportions in (None, "masks", "people") else self.proportions

    @property
    def coarse_file(self) -> str | None:
        """The file of coarse labels, if that is where they come from."""
        return None if self.coarse in (None, "masks", "layout", "people") else self.coarse

"""The published music taggers of Pons and Serra as features; they were trained on the Million Song Dataset.

musicnn: Pre-trained convolutional neural networks for music audio tagging (2019). `models/pretrained/` holds
the networks and their license.
"""

from dataclasses import dataclass
from importlib import resources

from genremill.infra import storage
from genremill.udfs.feature_sets.base import Signal, Window
from genremill.udfs.feature_sets.onnx_description import ONNX
from genremill.udfs.feature_sets.onnx_network import OnnxNetwork

LAYERS = {"musicnn": "penultimate", "musicnn_vgg": "pool5"}
"""The last layer of each network before the tags."""
PATCH_WINDOW_S = 3.0
"""The value of `--windows` for the patches of the networks, of 2.992 s."""
TAGS = (
    *("rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s"),
    *("alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul"),
    *("indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies"),
    *("blues", "hard rock", "ambient", "acoustic", "experimental", "female vocalist", "guitar", "Hip-Hop"),
    *("70s", "party", "country", "easy listening", "sexy", "catchy", "funk", "electro", "heavy metal"),
    *("Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy"),
)


def music_tagger(name: str) -> "MusicTagger":
    """The set of a network in the package."""
    return MusicTagger.of(_path(f"{name}.onnx"))


def _path(file: str) -> str:
    return str(resources.files("genremill.models.pretrained").joinpath(file))


@dataclass(frozen=True, kw_only=True)
class MusicTagger(OnnxNetwork):
    """The last layer of a network before the tags, then the probabilities of its 50 tags."""

    @property
    def name(self) -> str:
        """The name of the file, without its ending."""
        return super().name.removeprefix(ONNX)

    @property
    def location(self) -> str:
        """URI of the file in the package of this process, which may lie elsewhere than that of the driver."""
        return storage.absolute_uri(_path(f"{self.name}.onnx"))

    @property
    def value_names(self) -> tuple[str, ...]:
        """The values of the layer by number, then the tags."""
        tags = (tag.lower().replace(" ", "_").replace("-", "_") for tag in TAGS)
        numbers = range(1, self.width - len(TAGS) + 1)
        return (*(f"{LAYERS[self.name]}_{number:03d}" for number in numbers), *(f"tag_{tag}" for tag in tags))

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The values of each patch, or means over the patches of longer windows."""
        return super().rows(y, self.description.window if window_s == PATCH_WINDOW_S else window_s)

"""The named image sets as the TFDS data set `jaxsr_images`, one configuration each.

Importing this file is enough: `tfds.load("jaxsr_images/T91", split="train")`. Images are
taken from $JAXSR_DATA or ~/.cache/jaxsr/data; splits are those of `sources.split_of`.
"""

import io

import PIL.Image
import tensorflow_datasets as tfds

from jaxsr.data import sources


class JaxsrImages(tfds.core.GeneratorBasedBuilder):
    """Images as uint8 RGB, and their names; stored as PNG, a gray one in one channel."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name)
        for name in (*sources.SETS, *sources.COMBINED)
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(), "name": tfds.features.Text()}
        return self.dataset_info_from_configs(
            description="Image sets of super-resolution research.",
            features=tfds.features.FeaturesDict(features),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        name = self.builder_config.name
        return {sources.split_of(name): self._generate_examples()}

    def _generate_examples(self):
        source = sources.open_source(self.builder_config.name)
        for i, name in enumerate(source.names):
            pixels = source.read(i)
            png = io.BytesIO()
            PIL.Image.fromarray(
                pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels
            ).save(png, "png")
            png.seek(0)
            yield i, {"image": png, "name": name}

"""The named image sets as the TFDS data set `jaxsr_images`, one configuration each.

Importing this file is enough for `tfds.load("jaxsr_images/T91", split="train")`. Images
come from $JAXSR_DATA or ~/.cache/jaxsr/data; the split is what `sets.split_of` says.
"""

import io

import PIL.Image
import tensorflow_datasets as tfds

from jaxsr.data import sets


class JaxsrImages(tfds.core.GeneratorBasedBuilder):
    """Images and their names, in the order of the source."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name) for name in (*sets.SETS, *sets.COMBINED)
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(), "name": tfds.features.Text()}
        return self.dataset_info_from_configs(
            description="Image sets of super-resolution research.",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {sets.split_of(self.builder_config.name): self._generate_examples()}

    def _generate_examples(self):
        source = sets.open_source(self.builder_config.name)
        for i, name in enumerate(source.names):
            pixels = source.read(i)
            if pixels.shape[-1] == 1:  # stored as gray; TFDS itself decodes it to RGB
                pixels = pixels[..., 0]
            png = io.BytesIO()
            PIL.Image.fromarray(pixels).save(png, "png")
            png.seek(0)
            yield i, {"image": png, "name": name}

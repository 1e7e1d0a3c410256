import numpy as np

from recipes.mini.heads import Material
from recipes.mini.learning_curve import part_of
from recipes.mini.pooled import Pooled


def test_a_larger_part_has_all_images_of_a_smaller_one_with_all_their_regions():
    images = np.repeat([f"{number}.jpg" for number in range(16)], 3)
    count = len(images)
    regions = Pooled(
        np.zeros((count, 1), np.float32),
        images,
        np.full(count, "cat"),
        np.full(count, "box"),
        np.ones(count, np.float32),
        np.zeros(count, int),
        np.ones(count, bool),
    )
    material = Material(regions, regions, {}, [], (), np.zeros(0, int), np.zeros((0, 0)))

    parts = [part_of(material, share).regions.images.tolist() for share in (1 / 8, 1 / 4, 1)]

    assert [len(part) for part in parts] == [6, 12, 48]
    assert set(parts[0]) < set(parts[1]) < set(parts[2])

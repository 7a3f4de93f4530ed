import numpy as np

from weakseg.datasets.scene_paint import paint
from weakseg.datasets.scene_plan import draw_plan


def drawn(number):
    rng = np.random.default_rng(number)
    plan = draw_plan(96, 128, rng)
    return plan, *paint(plan, rng)


def test_mask_is_the_plan_except_under_clouds():
    clouds = 0
    for number in range(40):
        plan, image, mask = drawn(number)
        hidden = mask == 255
        np.testing.assert_array_equal(mask[~hidden], plan.classes_HW[~hidden])
        if hidden.any():
            clouds += 1
            assert image[hidden].mean() > image[~hidden].mean() + 20  # a cloud is bright
            assert hidden.mean() < 0.2
    assert 1 <= clouds <= 12


def test_light_differs_between_scenes_and_within():
    means = [drawn(number)[1].mean() for number in range(20)]
    assert np.std(means) > 10


def test_shadows_are_darker_than_the_ground_beside_them():
    darker = []
    for number in range(30):
        plan, image, _ = drawn(number)
        grey = image.mean(-1)
        ground = plan.classes_HW == 0
        shaded = ground & (plan.shade_HW == 1)
        if shaded.sum() > 30:
            darker.append(grey[shaded].mean() < grey[ground & (plan.shade_HW == 0)].mean())
    assert len(darker) > 5
    assert np.mean(darker) > 0.9

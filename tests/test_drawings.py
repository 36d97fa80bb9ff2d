import torch

from nsutils.drawings import Textures, cells, coloured


def batch(variation=1.0, seed=0, **given):
    return Textures(40, **given).batch(6, variation, torch.Generator().manual_seed(seed))


def test_a_batch_is_pictures_and_a_label_for_every_cell():
    pictures, labels = batch()
    assert pictures.shape == (6, 3, 64, 64) and labels.shape == (6, 8, 8)
    assert pictures.min() >= 0 and pictures.max() <= 1
    assert set(labels.unique().tolist()) <= {-100, *range(41)}
    assert (labels >= 0).float().mean() > 0.5
    assert (labels == 40).any(), "flat shapes are the last class"


def test_seeds_fix_classes_and_pictures():
    assert torch.equal(batch()[0], batch()[0])
    assert not torch.equal(batch()[0], batch(seed=1)[0])
    assert not torch.equal(Textures(40, seed=1).frequency, Textures(40).frequency)


def test_larger_pictures_show_the_same_textures_finer():
    assert batch(edge=96)[0].shape == (6, 3, 96, 96)


def test_a_class_differs_from_another_more_than_from_itself():
    """The mean colour alone tells it already, on plain pictures of one texture."""
    textures, chance = Textures(12), torch.Generator().manual_seed(0)
    from nsutils.drawings import Sketch

    def means():
        return textures.texture(torch.arange(12), 0.0, Sketch(12, 64, chance)).mean((2, 3))

    one, other = means(), means()
    assert (torch.cdist(one, other).argmin(1) == torch.arange(12)).float().mean() > 0.8


def test_a_cell_where_textures_meet_has_no_label():
    place = torch.zeros(1, 1, 16, 16)
    place[..., 12:] = 3
    assert cells(place).tolist() == [[[0, -100], [0, -100]]]


def test_tones_are_painted_with_the_colours_between_which_they_lie():
    colours = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]])
    tone = torch.tensor([0.0, 0.25, 1.0]).view(1, 1, 1, 3)
    assert coloured(tone, colours)[0, :, 0].T.tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]]

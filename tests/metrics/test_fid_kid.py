"""FID and KID: the formulas against others' and plain ones, then sets of images in one process and in several."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from basicsr.archs.inception import InceptionV3
from basicsr.metrics import calculate_metric
from basicsr.metrics.fid import extract_inception_features
from helpers.backbones import accept, random_backbone
from msgspec.structs import astuple
from scipy import linalg
from torch import Tensor, nn

from basicsr_kd.errors import BackboneError, MetricError
from basicsr_kd.metrics import kid as kid_module
from basicsr_kd.metrics import set_scores
from basicsr_kd.metrics.backbones import KNOWN
from basicsr_kd.metrics.fid import features, frechet_distance, inception_network
from basicsr_kd.metrics.kid import Kid, kernel, patch_kid
from basicsr_kd.metrics.set_scores import SetScores, patches

# --- Fréchet distance


def recomputed(a: np.ndarray, b: np.ndarray) -> float:
    """As the definition has it, with scipy's root of the product of covariances."""
    covariances = [np.cov(sample, rowvar=False) for sample in (a, b)]
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    return (((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0]) + np.trace(covariances[1])
            - 2 * np.trace(root).real)


def test_frechet_distance_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(300, 20)) @ rng.normal(size=(20, 20))
    b = rng.normal(size=(120, 20)) @ rng.normal(size=(20, 20)) + 0.5

    wanted = recomputed(a, b)

    assert wanted > 100
    assert frechet_distance(torch.tensor(a), torch.tensor(b)) == pytest.approx(wanted, rel=1e-9)
    assert frechet_distance(torch.tensor(b), torch.tensor(a)) == pytest.approx(wanted, rel=1e-9)


def test_frechet_distance_is_exact_with_far_fewer_samples_than_features():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 8)), 2 * rng.normal(size=(40, 8)) + 1
    rotation, _ = np.linalg.qr(rng.normal(size=(2048, 8)))  # the same samples, turned into 2048 dimensions

    distance = frechet_distance(torch.tensor(a @ rotation.T), torch.tensor(b @ rotation.T))

    assert distance == pytest.approx(recomputed(a, b), rel=1e-9)


def test_frechet_distance_of_moved_samples_is_the_square_of_the_way_and_of_equal_ones_nothing():
    sample = torch.randn(50, 2048)

    assert frechet_distance(sample, sample) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(sample, sample + 0.5) == pytest.approx(2048 / 4, rel=1e-6)
    with pytest.raises(MetricError, match='between 1 and 50 images'):
        frechet_distance(sample[:1], sample)


# --- KID

def tensor_power(sample: Tensor) -> Tensor:
    """Vectors whose inner products are the kernel: all products of three of [x / √d, 1]."""
    extended = torch.cat([sample / sample.shape[1] ** 0.5, torch.ones(len(sample), 1)], 1).double()
    return torch.einsum('pi,pj,pk->pijk', extended, extended, extended).flatten(1)


def images_of_patches(counts: list[int], shift: float = 0.0) -> tuple[list[Tensor], list[Tensor]]:
    """Results and ground truths of three features; patches of an image resemble each other."""
    truth = [torch.randn(3) + 0.5 * torch.randn(count, 3) for count in counts]
    return [features + shift + 0.3 * torch.randn(3) + 0.1 * torch.randn_like(features) for features in truth], truth


def test_the_kernel_is_that_of_the_paper():
    a, b = torch.randn(4, 3), torch.randn(5, 3)

    assert torch.allclose(kernel(a, b).double(), tensor_power(a) @ tensor_power(b).T, atol=1e-4)


def test_kid_is_the_mean_over_pairs_of_images_of_what_their_patches_share():
    counts = [2, 5, 3, 4]
    result, truth = images_of_patches(counts, shift=0.5)
    shifts = [(tensor_power(x) - tensor_power(y)).sum(0) for x, y in zip(result, truth, strict=True)]
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]

    kid = patch_kid(result, truth)

    wanted = sum((shifts[i] @ shifts[j]).item() for i, j in pairs) / sum(counts[i] * counts[j] for i, j in pairs)
    assert kid.value == pytest.approx(wanted, rel=1e-5)
    assert kid.patches == 14


def test_kid_of_equal_files_is_nothing_and_the_floor_is_around_it():
    _, truth = images_of_patches([16, 9, 12, 7])

    kid = patch_kid(truth, truth)

    assert (kid.value, kid.low, kid.high) == (0, 0, 0)
    assert kid.floor_low < 0 < kid.floor_high
    assert abs(kid.floor) < 0.2 * kid.floor_high


def test_kid_has_no_bias_and_its_interval_holds_the_truth():
    shift = 0.5
    many = images_of_patches([1] * 20000, shift)
    x, y = (tensor_power(torch.cat(side)) for side in many)
    truth = (x - y).mean(0).square().sum().item()
    found = [patch_kid(*images_of_patches([4] * 20, shift)) for _ in range(50)]

    error = np.std([kid.value for kid in found]) / 50 ** 0.5
    assert np.mean([kid.value for kid in found]) == pytest.approx(truth, abs=3 * error)
    assert error < truth / 10
    assert sum(kid.low <= truth <= kid.high for kid in found) >= 40  # 95 % of 50 are 47


def test_a_result_as_good_as_the_truth_is_within_the_floor_and_a_shifted_one_above():
    def drawn() -> tuple[list[Tensor], list[Tensor]]:
        centres = torch.randn(8, 3)
        return ([c + 0.5 * torch.randn(20, 3) for c in centres], [c + 0.5 * torch.randn(20, 3) for c in centres])
    result, truth = drawn()
    kid = patch_kid(result, truth)
    shifted = patch_kid([features + 0.5 for features in result], truth)

    assert kid.floor_low <= kid.value <= kid.floor_high
    assert shifted.low > shifted.floor_high


def test_kid_repeats_and_takes_fewer_patches_of_each_of_many_images(monkeypatch):
    result, truth = images_of_patches([9] * 10)
    monkeypatch.setattr(kid_module, 'MOST', 40)

    kid = patch_kid(result, truth)

    assert patch_kid(result, truth) == kid != patch_kid(result, truth, seed=1)
    assert kid.patches == 30
    thinned = [[features[::4] for features in side] for side in (result, truth)]
    assert kid == patch_kid(*thinned)


@pytest.mark.parametrize(('counts', 'others'), [([4, 4], [4, 4]), ([4, 4, 1], [4, 4, 1]), ([4, 4, 4], [4, 4, 5])])
def test_too_few_images_or_patches_and_others_than_those_of_the_truth_are_refused(counts, others):
    with pytest.raises(MetricError, match='Expected the same, at least 3 images and 2 patches in each'):
        patch_kid([torch.rand(count, 3) for count in counts], [torch.rand(count, 3) for count in others])


@pytest.mark.parametrize('name', ['fid', 'kid'])
def test_basicsrs_own_models_are_told_who_gathers_it(name):
    images = {'img': np.zeros((8, 8, 3), np.uint8), 'img2': np.zeros((8, 8, 3), np.uint8)}

    with pytest.raises(MetricError, match=f'calculate_{name}: .*KDGANModel.*PruneGANModel .*--metrics {name}'):
        calculate_metric(images, {'type': f'calculate_{name}', 'crop_border': 4})


# --- Inception

@pytest.fixture(scope='module')
def inception_file(tmp_path_factory):
    """Lies where PyTorch's cache would have it below TORCH_HOME, and has the published name."""
    path = tmp_path_factory.mktemp('home') / 'hub/checkpoints' / KNOWN['inception'].url.rpartition('/')[2]
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    return random_backbone('inception', path)


def test_features_are_those_that_basicsr_extracts_and_batches_do_not_matter(inception_file, monkeypatch):
    accept(monkeypatch, 'inception', inception_file)
    monkeypatch.setenv('TORCH_HOME', str(inception_file.parents[2]))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    images = torch.rand(3, 3, 80, 120)

    found = features(inception_network(inception_file), images.split(2))

    theirs = extract_inception_features([images], InceptionV3([3]).eval(), device='cpu')  # finds the file by itself
    assert found.shape == (3, 2048) and found.std() > 0.01
    assert torch.allclose(found, theirs, atol=1e-4 * found.abs().max().item())
    alone = features(inception_network(inception_file), [images[1:2]])
    assert torch.allclose(found[1:2], alone, atol=1e-4 * found.abs().max().item())


# --- sets

class Projection(nn.Module):
    """Stands in for Inception: every pixel of an 8x8 thumbnail, brought to 2048 features by fixed random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * 64, 2048, generator=torch.Generator().manual_seed(0)) / 14)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [(nn.functional.adaptive_avg_pool2d(images, 8).flatten(1) @ self.weight)[..., None, None]]


@pytest.fixture
def inception(monkeypatch) -> nn.Module:
    network = Projection()
    monkeypatch.setattr(set_scores, 'inception_network', lambda weights, device: network)
    return network


@pytest.fixture
def photos() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Results and ground truths by name, of different sizes."""
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 256, (96 + 16 * index, 130, 3), dtype=np.uint8) for index in range(5)]
    return {f'{index}': (truth // 2, truth) for index, truth in enumerate(truths)}


def gathered(pairs, names=('fid', 'kid')) -> SetScores:
    scores = SetScores(names, patch=32)
    for key, (result, truth) in pairs.items():
        scores.add(key, result, truth)
    return scores


def rgb(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255


def test_fid_is_over_whole_images_and_kid_over_their_patches(inception, photos):
    results = gathered(photos).results()

    wholes = [features(inception, [rgb(image) for image in side]) for side in zip(*photos.values(), strict=True)]
    assert results['fid'] == pytest.approx(frechet_distance(*wholes), rel=1e-5)
    assert results['fid_samples'] == 5
    squares = [[features(inception, [rgb(image[y:y + 32, x:x + 32]) for y in range(0, len(image) - 31, 32)
                                     for x in (0, 32, 64, 96)]) for image in side]
               for side in zip(*photos.values(), strict=True)]
    kid = results['kid']
    assert astuple(kid) == pytest.approx(astuple(patch_kid(*squares)), rel=1e-4, abs=1e-6)
    assert kid.patches == 4 * (3 + 3 + 4 + 4 + 5)
    assert kid.low > kid.floor_high  # half as bright is not as good as the truth


def test_processes_that_share_a_set_get_what_one_gets_alone(inception, photos):
    keys = list(photos)
    shares = [gathered({key: photos[key] for key in keys[rank::2][::-1]}) for rank in range(2)]
    shares[1].add(keys[0], *photos[keys[0]])  # a sampler that pads gives an image to two processes

    for share in shares:
        share.merge([other.state() for other in shares])

    assert shares[0].results() == shares[1].results() == gathered(photos).results()


def test_equal_files_have_perfect_scores(inception, photos):
    results = gathered({key: (truth, truth) for key, (_, truth) in photos.items()}).results()

    assert results['fid'] == pytest.approx(0, abs=1e-6)
    assert results['kid'].value == results['kid'].low == results['kid'].high == 0


def test_grey_images_are_those_of_three_equal_channels(inception, photos):
    grey = {key: (result[..., 0], truth[..., :1]) for key, (result, truth) in photos.items()}
    colour = {key: tuple(np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2) for image in pair)
              for key, pair in grey.items()}

    assert gathered(grey).results() == gathered(colour).results()


def test_the_first_warning_tells_why_fid_of_few_images_says_little(inception, photos, monkeypatch):
    scores = gathered(photos)

    assert scores.warnings() == [scores.warnings()[0]]
    assert 'FID on 5 images: with fewer than 2048 samples the covariances of its 2048 features lack rank' in (
        scores.warnings()[0])
    assert scores.warnings()[0].endswith('KID has no such bias.') and gathered(photos, ['kid']).warnings() == []
    alone = gathered(photos, ['fid'])
    assert alone.warnings()[0].endswith(
        'KID has no such bias: add it (type: calculate_kid in YAML, --metrics kid on the command line).')
    assert alone.warnings(['kid']) == scores.warnings()  # measured elsewhere
    monkeypatch.setattr(set_scores, 'FEWEST', 5)
    assert scores.warnings() == []


def test_what_a_set_is_too_small_for_is_left_out_with_the_reason(inception, photos):
    small = np.zeros((40, 20, 3), np.uint8)

    one = gathered({'0': photos['0']})
    assert one.results() == {}
    assert ['FID is left out: it needs at least 2', 'KID is left out: it needs at least 3'] == [
        warning[:len('FID is left out: it needs at least 2')] for warning in one.warnings()]
    without_patches = gathered({**photos, 'a': (small, small), 'b': (small[:33, :], small[:33, :])})
    assert without_patches.results()['kid'].patches == gathered(photos).results()['kid'].patches
    three = gathered({key: photos[key] for key in '123'})
    assert 'KID on 3 images: its interval is too narrow' in three.warnings()[1]
    assert isinstance(three.results()['kid'], Kid)


def test_patches_are_the_squares_of_the_grid_evenly_thinned():
    image = torch.arange(300 * 400.0).reshape(1, 1, 300, 400)

    all_of_them = patches(image, 64)
    assert all_of_them.shape == (4 * 6, 1, 64, 64)
    assert torch.equal(all_of_them[7], image[0, :, 64:128, 64:128])
    assert patches(image, 32).shape == (64, 1, 32, 32)  # of 108
    assert torch.equal(patches(image, 32)[-1], image[0, :, 256:288, 352:384])
    assert patches(image, 301).shape == (0, 1, 301, 301)


def test_sizes_that_differ_and_other_names_are_refused(inception, photos):
    with pytest.raises(MetricError, match='the result is 130x95 pixels and the ground truth 130x96'):
        SetScores(['fid']).add('0', photos['0'][0][1:], photos['0'][1])
    with pytest.raises(MetricError, match=r"found \['psnr'\] as metrics of a set. Expected fid or kid"):
        SetScores(['fid', 'psnr'])


def test_missing_weights_are_told_at_once(tmp_path):
    with pytest.raises(BackboneError, match='--inception-weights PATH'):
        SetScores(['fid'], tmp_path / 'missing.pth')


def test_a_set_is_scored_with_the_real_network(inception_file, photos, monkeypatch):
    accept(monkeypatch, 'inception', inception_file)
    scores = SetScores({'fid', 'kid'}, inception_file, patch=96)
    for key in '01':
        scores.add(key, *photos[key])

    results = scores.results()

    assert results['fid'] > 1e-6 and results['fid_samples'] == 2 and 'kid' not in results
    assert scores.state()['1']['kid'][0].shape == (1, 2048)


def test_methods_on_one_set_share_the_features_of_its_ground_truth(inception, photos, monkeypatch):
    result, truth = photos['0']
    seen = []
    original = set_scores.features
    monkeypatch.setattr(set_scores, 'features', lambda *args: seen.append(1) or original(*args))
    truths: dict[str | int, dict[str, Tensor]] = {}
    for image in (result, truth):
        shared = SetScores(['fid', 'kid'], patch=32, truths=truths)
        shared.add('0', image, truth)
    assert len(seen) == 6  # FID's and KID's, of two results and once of the ground truth
    alone = SetScores(['fid', 'kid'], patch=32)
    alone.add('0', truth, truth)
    for name, pair in alone.state()['0'].items():
        assert all(torch.equal(left, right) for left, right in zip(pair, shared.state()['0'][name], strict=True))

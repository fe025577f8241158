"""Image pairs in memory, photos, video clips; the plugin puts all of `__all__` into BasicSR's DATASET_REGISTRY."""
from basicsr_kd.data.cached_paired_image_dataset import CachedPairedImageDataset
from basicsr_kd.data.named_paired_image_dataset import NamedPairedImageDataset
from basicsr_kd.data.realesrgan_dataset import RealESRGANPhotoDataset
from basicsr_kd.data.taught_paired_image_dataset import TaughtPairedImageDataset
from basicsr_kd.data.tecogan_test_dataset import TecoGANTestDataset
from basicsr_kd.data.tecogan_train_dataset import TecoGANTrainDataset

__all__ = ['CachedPairedImageDataset', 'NamedPairedImageDataset', 'RealESRGANPhotoDataset', 'TaughtPairedImageDataset',
           'TecoGANTestDataset', 'TecoGANTrainDataset']

"""Image pairs in memory, video clips; the plugin puts those in ``__all__`` into BasicSR's DATASET_REGISTRY."""
from basicsr_kd.data.cached_paired_image_dataset import CachedPairedImageDataset
from basicsr_kd.data.video_test_dataset import TecoGANTestDataset
from basicsr_kd.data.video_train_dataset import TecoGANTrainDataset

__all__ = ['CachedPairedImageDataset', 'TecoGANTestDataset', 'TecoGANTrainDataset']

"""Video clips for training and test; the plugin puts those in ``__all__`` into BasicSR's DATASET_REGISTRY."""
from basicsr_kd.data.video_test_dataset import TecoGANTestDataset
from basicsr_kd.data.video_train_dataset import TecoGANTrainDataset

__all__ = ['TecoGANTestDataset', 'TecoGANTrainDataset']

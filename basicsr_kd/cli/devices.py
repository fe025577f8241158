"""Which device a command runs on. Imports nothing heavy before it is asked."""
from basicsr_kd.cli.outputs import Refusal


def usable_device(name: str | None) -> str:
    """The device of this name, seen to work; left out: a GPU, if there is one, else the CPU.

    Raises:
        Refusal: It cannot be used.
    """
    import torch
    name = name or ('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        torch.zeros(1, device=name).item()  # meta has tensors, but no values
    except Exception as error:  # each device has its own
        reason = str(error).partition('\n')[0]
        raise Refusal(f'--device {name} cannot be used: {reason}') from None
    return name

"""Joining the processes of one run, before any device is used."""

import jax

from lipsync_jax.errors import OptionError


def join(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Connects this process with the others of its run.

    Without arguments, JAX finds the cluster in the environment (Cloud TPU, GKE,
    SLURM, Open MPI).

    Args:
      coordinator: host:port of process 0.
      num_processes: in the run.
      process_id: of this one, from 0.

    Raises:
      OptionError: arguments that do not fit together, no cluster to be found, or the
        others could not be reached.
    """
    given = (coordinator, num_processes, process_id)
    if any(value is not None for value in given) and None in given:
        raise OptionError(
            "--coordinator, --num_processes and --process_id belong together; "
            "or give --distributed alone to find them in the environment"
        )
    if coordinator is not None:
        _, colon, port = coordinator.rpartition(":")
        if not colon or not port.isdigit():
            raise OptionError(f"--coordinator {coordinator}: must be HOST:PORT")
        if not 0 <= process_id < num_processes:
            raise OptionError(
                f"--process_id {process_id}: must be from 0 to {num_processes - 1} "
                f"with --num_processes {num_processes}"
            )
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except ValueError as error:  # nothing in the environment
        raise OptionError(
            f"no cluster found in the environment ({error}); give --coordinator "
            "HOST:PORT, --num_processes N and --process_id I"
        ) from None
    except RuntimeError as error:
        raise OptionError(
            f"could not join the other processes: {str(error).splitlines()[0]}"
        ) from None

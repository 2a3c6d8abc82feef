"""OpenCV, or one sentence about what a bare system lacks to load it.

Every other file takes `cv2` from here.
"""

from lipsync_jax.errors import EnvironmentProblem

SYSTEM_LIBRARIES = "libgl1 libegl1 libgles2 libglib2.0-0 libxcb1"


def cannot_load(package: str, reason: Exception) -> EnvironmentProblem:
    """The error for a package whose shared libraries do not load."""
    return EnvironmentProblem(
        f"cannot load {package} ({reason}). It needs libraries of the operating "
        f"system; on Debian or Ubuntu: apt-get install {SYSTEM_LIBRARIES}"
    )


try:
    import cv2
except (ImportError, OSError) as error:
    raise cannot_load("OpenCV", error) from error

__all__ = ["cannot_load", "cv2"]

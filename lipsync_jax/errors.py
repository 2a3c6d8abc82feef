"""Errors a user can cause and mend.

Each message names the file or option, says what was found, what was expected
and what to do. The command line prints it on one line and exits with code 2.
"""


class LipSyncError(Exception):
    """Base of every error that is the input's, not the program's."""

    exit_code = 2


class MediaError(LipSyncError):
    """A video, image or audio file that cannot be read as such."""


class AudioError(LipSyncError):
    """Sound that cannot drive a mouth: too short, not finite, absent."""


class FaceError(LipSyncError):
    """No usable face, or a box outside the frame."""


class DataError(LipSyncError):
    """A dataset that is missing, incomplete, damaged or of other settings."""


class CheckpointError(LipSyncError):
    """A published checkpoint that cannot be converted."""


class ModelError(LipSyncError):
    """A model folder that is missing, damaged or of another system."""


class OutputError(LipSyncError):
    """A result that cannot be written."""


class AssetError(LipSyncError):
    """A downloadable file that is absent or does not match its checksum."""


class OptionError(LipSyncError):
    """An option's value that makes no sense."""


class EnvironmentProblem(LipSyncError):
    """A library of the operating system is missing."""


class ConfigError(LipSyncError):
    """A training configuration that cannot be run."""


class TrainingError(LipSyncError):
    """A training run that cannot go on."""


class Preempted(LipSyncError):
    """A training run that was told to stop, and saved. The exit code is a signal's."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code

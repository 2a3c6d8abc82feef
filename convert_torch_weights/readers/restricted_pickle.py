"""A pickle reader that builds data and can do nothing else.

Python's own unpickler imports and calls whatever a file names, so that opening an
untrusted checkpoint runs its author's code. This one takes the operations from
`pickletools`, which only parses, and carries out the few that checkpoints contain.
A name in the file never becomes a Python object: it is a `Name`, and calling it means
looking it up in a table of functions of ours.
"""

import pickletools
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from lipsync_jax.errors import CheckpointError

# Wav2Lip's 352 tensors with their optimizer state take about 42 000.
MAX_OPERATIONS = 2_000_000


class ForbiddenName(CheckpointError):
    """The pickle names a class or function that no checkpoint needs."""


@dataclass(frozen=True)
class Name:
    """A dotted name that stands in the pickle, e.g. `torch.FloatStorage`."""

    value: str


@dataclass(eq=False)
class Stub:
    """An object of a class that is not known here: its attributes, no behaviour."""

    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Vocabulary:
    """What a pickle may name.

    Attributes:
      functions: Names that it may call, and the functions that answer.
      markers: Names that it may mention.
      stub_prefix: How the names of classes begin whose objects become `Stub`s.
    """

    functions: Mapping[str, Callable]
    markers: Container[str] = ()
    stub_prefix: str | None = None

    def is_stub(self, name: str) -> bool:
        return self.stub_prefix is not None and name.startswith(self.stub_prefix)

    def __contains__(self, name: str) -> bool:
        return (
            name == "collections.OrderedDict"
            or name in self.functions
            or name in self.markers
            or self.is_stub(name)
        )


def load(
    stream: BinaryIO,
    vocabulary: Vocabulary,
    persistent_load: Callable[[Any], Any],
) -> Any:
    """Reads one pickle and leaves the stream behind it.

    Args:
      stream: Anything with `read`, `readline` and `tell` whose `read(n)` takes no
        memory for more than is left in the stream (BytesIO, mmap).
      vocabulary: The names that the pickle may contain.
      persistent_load: Makes an object of a persistent id.

    Returns:
      Numbers, strings, None, tuples, lists, dictionaries (also for ordered ones),
      Names, Stubs, and what the functions of the vocabulary return. Lists and
      dictionaries may contain themselves.

    Raises:
      ForbiddenName: The pickle names something outside the vocabulary.
      CheckpointError: It is cut short, damaged, or too large to be genuine.
    """
    machine = _Machine(vocabulary, persistent_load)
    try:
        for operation, argument, _ in pickletools.genops(stream):
            if operation.name == "STOP":
                return machine.stack.pop()
            machine.spend(1)
            machine.perform(operation.name, argument)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        if not stream.read(1):
            raise CheckpointError(
                "is cut short: it ends inside its table of contents; download it again"
            ) from error
        raise CheckpointError(
            "is damaged: its table of contents makes no sense; download it again"
        ) from error


class _Machine:
    """The stack, the marks in it, and the memo of a pickle being read."""

    def __init__(self, vocabulary: Vocabulary, persistent_load: Callable):
        self.vocabulary = vocabulary
        self.persistent_load = persistent_load
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.budget = MAX_OPERATIONS

    def spend(self, operations: int) -> None:
        self.budget -= operations
        if self.budget < 0:
            raise CheckpointError(
                f"its table of contents takes more than {MAX_OPERATIONS} operations, "
                "far beyond any genuine checkpoint; it was not read further"
            )

    def perform(self, operation: str, argument: Any) -> None:
        stack = self.stack
        match operation:
            case "PROTO" | "FRAME":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE":
                stack.append(True)
            case "NEWFALSE":
                stack.append(False)
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT"
                | "BINUNICODE" | "SHORT_BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING"
            ):  # fmt: skip
                stack.append(argument)

            case "MARK":
                self.marks.append(len(stack))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.marks.append(len(stack) - int(operation[-1]))
                stack.append(tuple(self.pop_to_mark()))
            case "TUPLE":
                stack.append(tuple(self.pop_to_mark()))
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND":
                item = stack.pop()
                self.top(list).append(item)
            case "APPENDS":
                items = self.pop_to_mark()
                self.top(list).extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self.top(dict)[_key(key)] = value
            case "SETITEMS":
                items = self.pop_to_mark()
                pairs = zip(items[::2], items[1::2], strict=True)
                self.top(dict).update((_key(key), value) for key, value in pairs)

            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])

            case "GLOBAL" | "INST":  # INST also calls; its name is refused first
                stack.append(self.find_name(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                if not type(name) is type(module) is str:
                    raise TypeError("a name that is not a string")
                stack.append(self.find_name(f"{module}.{name}"))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(self.call(stack.pop(), arguments))
            case "NEWOBJ":
                stack.pop()
                stack.append(self.new(stack.pop()))
            case "BUILD":
                state = stack.pop()
                self.build(stack[-1], state)
            case "BINPERSID":
                stack.append(self.persistent_load(stack.pop()))

            case _:
                raise CheckpointError(
                    f"uses the pickle operation {operation}, which no checkpoint needs"
                )

    def pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError(f"expected a {kind.__name__}")
        return self.stack[-1]

    def find_name(self, name: str) -> Name:
        if name not in self.vocabulary:
            raise ForbiddenName(
                f"names {ascii(name[:100])[1:-1]}, which no table of weights needs; "
                "nothing was executed. Do not load this file elsewhere unless you "
                "trust it. If it is your own, save model.state_dict() alone"
            )
        return Name(name)

    def call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Name) or type(arguments) is not tuple:
            raise TypeError("not a call")
        self.spend(len(arguments))  # the same tuple may serve many calls
        if function.value == "collections.OrderedDict":
            return self.ordered_dict(*arguments)
        return self.vocabulary.functions[function.value](*arguments)

    def ordered_dict(self, items: list | tuple = ()) -> dict:
        if type(items) not in (list, tuple):
            raise TypeError("not a list of pairs")
        self.spend(len(items))
        return {_key(key): value for key, value in items}

    def new(self, cls: Any) -> Stub:
        if not isinstance(cls, Name) or not self.vocabulary.is_stub(cls.value):
            raise TypeError("not a class")
        return Stub()

    def build(self, target: Any, state: Any) -> None:
        """Fills a Stub. The attributes of a state_dict (`_metadata`) are dropped."""
        if isinstance(target, Stub) and type(state) is dict:
            target.attributes = state
        elif type(target) is not dict:
            raise TypeError("attributes for something that has none")


def _key(key: Any) -> str | int:
    """Dictionary keys: not tuples, as hashing deeply nested ones exhausts the stack,
    nor huge integers, of which arbitrarily many share one hash."""
    if type(key) is str or (type(key) is int and key.bit_length() <= 64):
        return key
    raise TypeError("neither a name nor a number as a dictionary key")

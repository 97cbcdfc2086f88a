"""Chains of training stages that share their beginnings: what is trained from what, and what is measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ssal3d.errors import UserError

Chains = Sequence[str] | Sequence[Sequence[str]]


@dataclass(frozen=True)
class StageNode:
    """A stage among others.

    Attributes:
        name: Name of the stage.
        previous: The stage whose weights it starts from; None for random weights.
        following: The stages that start from its weights.
        is_last: Whether a chain ends with it.
    """

    name: str
    previous: str | None
    following: tuple[str, ...]
    is_last: bool


def order_stages(chains: Chains) -> list[StageNode]:
    """Return every stage once, after the one that it starts from.

    Args:
        chains: Names of one chain of stages, or several chains.

    Raises:
        UserError: If a stage would start from two different ones, or a chain is not a list of names.

    >>> [(place.name, place.previous) for place in order_stages([['supervised', 'final_cpsp'], ['supervised', 'nal']])]
    [('supervised', None), ('final_cpsp', 'supervised'), ('nal', 'supervised')]
    """
    each = as_chains(chains)
    previous: dict[str, str | None] = {}
    for chain in each:
        for before, name in zip((None, *chain), chain):
            if previous.setdefault(name, before) != before:
                both = [f"'{found}'" if found else 'nothing' for found in (before, previous[name])]
                raise UserError(
                    f"stages: '{name}' follows {both[0]} and {both[1]}, expected one predecessor; give it a second entry with "
                    "another name in the config's stages"
                )
    following = {name: tuple(other for other in previous if previous[other] == name) for name in previous}
    ends = {chain[-1] for chain in each}
    return [StageNode(name, before, following[name], name in ends) for name, before in previous.items()]


def as_chains(chains: Chains) -> list[list[str]]:
    """Return several chains; one chain of names is a list of one.

    >>> as_chains(['supervised', 'final_cpsp'])
    [['supervised', 'final_cpsp']]
    """
    if not chains:
        return []
    each: Sequence[Any] = [chains] if all(isinstance(name, str) for name in chains) else chains
    for chain in each:
        if isinstance(chain, str) or not chain or not all(isinstance(name, str) for name in chain):
            raise UserError(
                f'stages: found {chain!r} among chains, expected a list of names; write every chain as a list'
            )
    return [list(chain) for chain in each]

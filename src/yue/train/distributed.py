"""One process or many: who I am, what is shared, how a module is sharded.

Started by `torchrun`, every process runs the same program. On its own, a process needs no group
and nothing is sharded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from yue.errors import OptionError


@dataclass(frozen=True)
class World:
    """This process among all."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh | None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.mesh is not None:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.mesh is not None:
            dist.barrier()


def start(replicas: int = 1) -> World:
    """Join the group that `torchrun` announces, or stand alone.

    `replicas` above 1 shards within groups of ranks and copies between them (HSDP).
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    cuda = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if size == 1:
        return World(0, 1, device, None)
    if size % replicas:
        raise OptionError(f"loop.replicas = {replicas} does not divide {size} processes.")
    if cuda:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    if replicas > 1:
        shape, names = (replicas, size // replicas), ("replicate", "shard")
        mesh = init_device_mesh(device.type, shape, mesh_dim_names=names)
    else:
        mesh = init_device_mesh(device.type, (size,))
    return World(dist.get_rank(), size, device, mesh)


def end(world: World) -> None:
    """Leave the group."""
    if world.mesh is not None and dist.is_initialized():
        dist.destroy_process_group()


def shard(module: nn.Module, layers: nn.ModuleList, world: World, dtype: torch.dtype) -> None:
    """Shard a module, layer by layer and then the rest, in place; nothing for one process."""
    if world.mesh is None:
        return
    policy = MixedPrecisionPolicy()
    if dtype != torch.float32:
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for layer in layers:
        fully_shard(layer, mesh=world.mesh, mp_policy=policy)
    fully_shard(module, mesh=world.mesh, mp_policy=policy)


def synchronise(module: nn.Module, world: World, now: bool) -> None:
    """Whether the next backward exchanges gradients: only the last of a step must."""
    if world.mesh is not None:
        module.set_requires_gradient_sync(now)  # type: ignore[operator]

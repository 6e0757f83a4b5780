"""Hardware: devices, systems and their catalogue."""

from perfmodel.hardware.catalog import device, devices, system, systems, vary
from perfmodel.hardware.device import ComputeUnit, Device, Launch, Link, MemoryLevel, Power, System

__all__ = [
    "ComputeUnit", "Device", "Launch", "Link", "MemoryLevel", "Power", "System",
    "device", "devices", "system", "systems", "vary",
]

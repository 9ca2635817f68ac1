"""What is read from /proc and /sys, on planted trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskvd_cli.machine.limits import cpu_quota, held_back, memory
from maskvd_cli.machine.linux import (
    CpuTimes,
    busy_between,
    clocks,
    cpu_times,
    load_average,
    on_battery,
    sibling_threads,
    swapped_pages,
    virtual_machine,
)

CPU = "sys/devices/system/cpu"
MIB = 1 << 20


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_an_empty_tree_tells_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    told = [
        cpu_times(tmp_path), load_average(tmp_path), swapped_pages(tmp_path), cpu_quota(tmp_path),
        virtual_machine(tmp_path), sibling_threads(tmp_path), on_battery(tmp_path),
        memory(tmp_path), held_back(tmp_path), clocks(tmp_path).turbo,
        clocks(tmp_path).highest_mhz,
    ]  # fmt: skip
    assert told == [None] * len(told)
    assert clocks(tmp_path).governors == ()


@pytest.mark.parametrize("text", ["", "cpu", "cpu a b c d", "intr 1 2 3 4 5", "cpu0 1 2 3 4"])
def test_a_strange_stat_tells_nothing(tmp_path: Path, text: str) -> None:
    assert cpu_times(plant(tmp_path, {"proc/stat": text})) is None


def test_stolen_and_used_shares_of_the_time_between_two_readings(tmp_path: Path) -> None:
    # user nice system idle iowait irq softirq steal guest guest_nice; guest is part of user.
    before = cpu_times(plant(tmp_path, {"proc/stat": "cpu 100 0 50 800 40 0 0 10 90 0\ncpu0 1"}))
    after = cpu_times(plant(tmp_path, {"proc/stat": "cpu 150 0 60 920 50 0 0 20 140 0\ncpu0 1"}))
    assert before == CpuTimes(total=1000, idle=840, steal=10)
    busy = busy_between(before, after)
    assert busy is not None
    assert (busy.used, busy.stolen) == (0.35, 0.05)
    assert busy_between(before, before) is None
    assert busy_between(None, after) is None


def test_load_and_swapped_pages(tmp_path: Path) -> None:
    root = plant(tmp_path, {
        "proc/loadavg": "5.42 3.80 2.15 7/321 999\n",
        "proc/vmstat": "pgpgin 9\npswpin 30\npswpout 12\n",
    })  # fmt: skip
    assert load_average(root) == (5.42, 3.80, 2.15)
    assert swapped_pages(root) == 42


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, None),
        # The tightest group on the way up counts.
        (
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000",
                "sys/fs/cgroup/a/cpu.max": "200000 100000",
            },
            2.0,
        ),
        # Inside a namespace the path leads out of what is mounted.
        ({"proc/self/cgroup": "0::/../x", "sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/d\n0::/",
                "sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_quota_us": "300000",
                "sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/gone",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
    ],
)
def test_quota_of_control_groups(tmp_path: Path, files: dict[str, str], cores: float) -> None:
    assert cpu_quota(plant(tmp_path, files)) == cores


MEMINFO = "MemTotal: 8192 kB\nMemAvailable: 4096 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n"


def test_memory_without_and_with_a_limit_of_either_version(tmp_path: Path) -> None:
    free = memory(plant(tmp_path, {"proc/meminfo": MEMINFO}))
    assert free is not None
    assert (free.total, free.available, free.limit, free.swap_used) == (
        8 * MIB, 4 * MIB, None, MIB,
    )  # fmt: skip
    second = memory(plant(tmp_path / "v2", {
        "proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/x",
        "sys/fs/cgroup/x/memory.max": str(3 * MIB),
        "sys/fs/cgroup/x/memory.current": str(2 * MIB),
        "sys/fs/cgroup/x/memory.stat": f"anon 1\ninactive_file {MIB}",
    }))  # fmt: skip
    assert second is not None
    assert (second.limit, second.available) == (3 * MIB, 2 * MIB)
    first = memory(plant(tmp_path / "v1", {
        "proc/meminfo": MEMINFO, "proc/self/cgroup": "4:memory:/",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
    }))  # fmt: skip
    assert first is not None
    assert first.limit is None


def test_clocks_governors_and_turbo(tmp_path: Path) -> None:
    files: dict[str, str] = {f"{CPU}/intel_pstate/no_turbo": "1"}
    for core, governor, now in ((0, "powersave", 1200), (1, "performance", 3400)):
        folder = f"{CPU}/cpu{core}/cpufreq"
        files |= {
            f"{folder}/scaling_governor": f"{governor}\n",
            f"{folder}/scaling_cur_freq": f"{now}000",
            f"{folder}/scaling_max_freq": "3000000",
            f"{folder}/cpuinfo_max_freq": "3500000",
        }
    found = clocks(plant(tmp_path, files))
    assert found.governors == ("performance", "powersave")
    assert (found.lowest_now_mhz, found.highest_now_mhz) == (1200, 3400)
    assert (found.allowed_mhz, found.highest_mhz, found.turbo) == (3000, 3500, False)
    assert clocks(plant(tmp_path / "amd", {f"{CPU}/cpufreq/boost": "1"})).turbo is True


def test_threads_that_share_a_core(tmp_path: Path) -> None:
    lists = {0: "0,4", 4: "0,4", 1: "1,5", 5: "1,5", 2: "2-3", 3: "2-3"}
    name = CPU + "/cpu{}/topology/thread_siblings_list"
    root = plant(tmp_path, {name.format(cpu): text for cpu, text in lists.items()})
    assert sibling_threads(root) == [[0, 4], [1, 5], [2, 3]]


def test_virtual_machines_by_flag_and_name(tmp_path: Path) -> None:
    metal = plant(tmp_path / "metal", {"proc/cpuinfo": "flags : fpu sse", "sys/x": ""})
    guest = {"proc/cpuinfo": "processor : 0\nflags\t: fpu hypervisor lm\n"}
    assert virtual_machine(metal) is None
    assert virtual_machine(plant(tmp_path / "guest", guest)) == "unnamed"
    guest |= {"sys/class/dmi/id/sys_vendor": "QEMU\n", "sys/class/dmi/id/product_name": "PC\n"}
    assert virtual_machine(plant(tmp_path / "named", guest)) == "QEMU PC"


@pytest.mark.parametrize(("online", "battery"), [("0", True), ("1", False)])
def test_power_supply(tmp_path: Path, online: str, battery: bool) -> None:
    folder = "sys/class/power_supply/AC"
    plant(tmp_path, {f"{folder}/type": "Mains", f"{folder}/online": online})
    assert on_battery(tmp_path) is battery

#!/usr/bin/python3
"""Makes docs/boot-performance.md of the lines that the case start-up wrote.

Usage: report.py RESULTS
"""

import os
import statistics
import subprocess
import sys

WAYS = {"official": "the official script's flow", "ours": "`kasm-bootstrap install`"}
CONTENTION = {"quiet": "the package manager is free", "busy": "an upgrade holds dpkg's locks for 10 s"}
COLUMNS = ["first line of install.sh", "install.sh is done", "the whole, with clean-up or proof"]


def machine():
    """This machine in a few words."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as source:
        for line in source:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
    kernel = os.uname().release
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    date = subprocess.run(["date", "-u", "+%Y-%m-%d"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{date}, {os.cpu_count()} x {model}, Linux {kernel}; load at the end {load}"


def main():
    taken, failed, rounds = {}, {}, 0
    with open(sys.argv[1], encoding="utf-8") as source:
        for line in source:
            contention, way, *numbers = line.split()
            if numbers == ["failed"]:
                failed[contention, way] = failed.get((contention, way), 0) + 1
            else:
                taken.setdefault((contention, way), []).append([float(number) for number in numbers])
    rounds = max(len(rows) + failed.get(key, 0) for key, rows in taken.items())
    print("# How long a start-up takes\n")
    print("Written by `scripts/bench-boot`: one booted Debian (systemd-nspawn), one mirror at 25 MB/s, one stand-in")
    print(f"release of 150 MB, both ways in turns, {rounds} rounds, medians in seconds (least to most). The official")
    print("script is not copied: `tests/vm/bench/start-up/official.sh` does what it does (docs/kasm-facts.md, 7). Ours")
    print("checks the machine, verifies the release and, in the last column, proves that the containers are healthy; the")
    print("official flow does nothing of the sort. The stand-in's installer takes about a second beside apt.\n")
    print(f"Machine: {machine()}.\n")
    print("| | | " + " | ".join(COLUMNS) + " | failed |")
    print("| --- | --- |" + " ---: |" * (len(COLUMNS) + 1))
    medians = {}
    for contention, words in CONTENTION.items():
        for way, name in WAYS.items():
            rows = taken.get((contention, way), [])
            cells = []
            for column in range(len(COLUMNS)):
                values = [row[column] for row in rows]
                if values:
                    medians[contention, way, column] = statistics.median(values)
                    cells.append(f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
                else:
                    cells.append("-")
            print(f"| {words} | {name} | " + " | ".join(cells) + f" | {failed.get((contention, way), 0)} |")
        ratios = []
        for column in range(len(COLUMNS)):
            official, ours = medians.get((contention, "official", column)), medians.get((contention, "ours", column))
            ratios.append(f"**{official / ours:.2f}**" if official and ours else "-")
        print("| | times as long as ours | " + " | ".join(ratios) + " | |")


if __name__ == "__main__":
    main()

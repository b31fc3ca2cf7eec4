"""How fast archives are simulated: `python benchmarks/bench_simulate.py [RECORDING] [--events 3000000]`.

Prints one JSON object: events per second over everything (reading the recording, making templates, writing), and over the
writing alone; CPU seconds in all and of the thread that renders (the other one compresses; on two free cores the work takes as
long as the longer of them), so that a busy machine does not hide the figure; peak memory; bytes per event. The archives are
written to a temporary folder and removed.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

from audit_lab.simulate import simulate

SAMPLE = Path(__file__).parent.parent / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", nargs="?", default=str(SAMPLE))
    parser.add_argument("--events", type=int, default=3_000_000)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--clusters", type=int, default=4)
    arguments = parser.parse_args()
    asked = {"days": arguments.days, "events": arguments.events, "clusters": arguments.clusters}
    marks = [clocks()]

    def note(done: int, _: int) -> None:
        if len(marks) == 1:
            marks.append((*clocks(), done))

    with tempfile.TemporaryDirectory() as folder:
        report = simulate(arguments.recording, Path(folder) / "out", **asked, progress=note)
    (start, start_cpu, start_main), (first, first_cpu, first_main, done), (end, end_cpu, end_main) = *marks, clocks()
    written = report.n_events - done
    print(json.dumps({
        "events": report.n_events, "records": report.n_records, "sessions": report.n_sessions, "distinct_templates": report.n_templates,
        "seconds": round(end - start, 1), "seconds_before_writing": round(first - start, 1),
        "events_per_second": round(report.n_events / (end - start)), "events_per_second_writing": round(written / (end - first)),
        "cpu_seconds": round(end_cpu - start_cpu, 1), "cpu_seconds_of_main_thread": round(end_main - start_main, 1),
        "cpu_us_per_event_writing": round((end_cpu - first_cpu) / written * 1e6, 1),
        "cpu_us_per_event_of_main_thread": round((end_main - first_main) / written * 1e6, 1),
        "events_per_second_of_main_thread": round(report.n_events / (end_main - start_main)),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "bytes_per_event": round(report.bytes / report.n_events), "disk_bytes_per_event": round(report.bytes_on_disk / report.n_events),
        "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1),
    }, indent=1))


def clocks() -> tuple[float, float, float]:
    """Wall clock, CPU seconds of the process, CPU seconds of this thread."""
    return time.perf_counter(), time.process_time(), time.thread_time()


if __name__ == "__main__":
    main()

"""`python -m tests.crash_points`: every numbered point, one job each, over all cores."""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter

from tests.crash_points.runner import open_in_pool, play_in_pool, points_in_pool


def _run(database: str, first: int, stride: int, workers: int) -> bool:
    """Prints what was hit; True if every job ended right."""
    began, played = time.monotonic(), []
    with multiprocessing.get_context("spawn").Pool(workers, open_in_pool, (database,)) as pool:
        points, *others = pool.map(points_in_pool, range(4 * workers), chunksize=1)
        for one in pool.imap_unordered(play_in_pool, points[first::stride]):
            played.append(one)
            if one.wrong:
                print(f"  {one.point}: {one.wrong}", flush=True)
            if len(played) % 100 == 0:
                print(f"  {len(played)} of {len(points[first::stride])}", flush=True)
        pool.close()
        pool.join()
    roles = Counter(f"{'hub' if one.point.party == 'hub' else 'site'} {one.point.role}" for one in played)
    wrong = [one for one in played if one.wrong]
    told = ", ".join(f"{role} {number}" for role, number in sorted(roles.items()))
    print(
        f"crash points on {database}: {len(points)} numbered ({len(points) // 2} writes, before and after each); "
        f"{len(played)} played in {time.monotonic() - began:.0f} s, {len(wrong)} wrong; {told}",
        flush=True,
    )
    return not wrong and len(played) == len(points[first::stride]) and all(other == points for other in others)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash_points", description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--stride", type=int, default=1, help="only every n-th point")
    parser.add_argument("--first", type=int, default=0, help="from this point on, where an earlier run was stopped")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    chosen = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    right = [_run(database, options.first, options.stride, options.workers) for database in chosen]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())

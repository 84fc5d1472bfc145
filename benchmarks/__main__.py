"""`make bench`: every figure beside a floor measured in the same run."""

from benchmarks import machine, secure_sum, smallest_job


def show(title: str, headings: str, rows: list[str]) -> None:
    print(f"\n{title}\n\n{headings}\n|{'---|' * (headings.count('|') - 1)}", flush=True)
    for row in rows:
        print(row, flush=True)


if __name__ == "__main__":
    show("This machine", "| what | reached |", machine.lines())
    sums = secure_sum.lines()
    show("Secure sum", "| sites × numbers | CPU a site | hub | all | floor, all | ratio | bytes a number |", sums)
    show("Memory of a secure sum", "| sites × numbers | peak |", [secure_sum.peak()])
    show("A whole job", "| what | ours | floor | ratio |", [smallest_job.line()])

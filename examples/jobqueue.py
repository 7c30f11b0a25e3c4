"""Compute σ² of a data set on a Slurm cluster, from its login node: dask-jobqueue submits a job for each worker.

    pip install dask-jobqueue
    python examples/jobqueue.py --dataset hospital --root /data/tartanair/hospital --jobs 16

dask-jobqueue had its last release in August 2024. For a new set-up prefer slurm_array.sbatch or slurm_dask.sbatch in
this folder, which need nothing but Slurm (docs/many-machines.md).
"""

import click
from dask_jobqueue import SLURMCluster

from depthvar.datasets import DepthVarError, open_source
from depthvar.precompute import run

HOURS = 4


@click.command()
@click.option("--dataset", required=True, help="As in `precompute run`.")
@click.option("--root", help="Folder of the data, which all nodes see.")
@click.option("--jobs", default=4, help="Slurm jobs of one worker each.")
@click.option("--cpus", default=8, help="CPUs, and so threads, of a worker.")
def main(dataset: str, root: str | None, jobs: int, cpus: int) -> None:
    """Submit the jobs, wait for the first one, compute, and end them."""
    lifetime = ["--lifetime", f"{HOURS * 60 - 10}m", "--lifetime-stagger", "5m"]  # ends before Slurm ends it
    with SLURMCluster(
        cores=cpus, processes=1, memory=f"{cpus} GiB", walltime=f"{HOURS:02}:00:00", worker_extra_args=lifetime
    ) as cluster:
        cluster.scale(jobs=jobs)
        cluster.wait_for_workers(1)  # however long the queue is: a run waits only a minute for a worker
        try:
            result = run(open_source(dataset, root), scheduler=cluster.scheduler_address)
        except DepthVarError as error:
            raise click.ClickException(str(error)) from error
    counts = f"{result.computed} frames computed, {result.unchanged} unchanged, {len(result.failed)} failed"
    click.echo(f"{counts}, of {result.frames}: {result.cache}")
    for key, message in result.failed:
        click.echo(f"{key}: {message}", err=True)
    if result.failed:
        raise SystemExit(4)


if __name__ == "__main__":
    main()

"""Run every measurement."""

from tests.bench import bench_containers, bench_inspector, bench_log, bench_router, bench_start, bench_vault

bench_log.main()
bench_start.main()
bench_vault.main()
bench_inspector.main()
bench_router.main()
bench_containers.main()

# make test, and that is all there is to know; make test-all before a commit.

SHELL = /bin/bash
.DEFAULT_GOAL = test
.PHONY: setup test test-spark test-browser test-minio test-deploy test-packages test-fuzz test-all packages fuzz torture bench bench-queries lint prometheus dashboard-picture clean

# The tests' own server is on this machine: never through a proxy. Settings of whoever runs them are not theirs.
export NO_PROXY := 127.0.0.1,localhost,$(NO_PROXY)
export no_proxy := $(NO_PROXY)

# The Python environments of the readers that check the archives (CPython 3.13).
setup:
	tests/readers/setup
	tests/readers/setup httpfs

# All tests, against a LocalStack that is started before and stopped after, however they end. With
# CC_ARCHIVER_TEST_S3_ENDPOINT set they use that server, and none is started or stopped.
test: setup
	@trap '[ -n "$$CC_ARCHIVER_TEST_S3_ENDPOINT" ] || localstack/down' EXIT; \
	trap 'exit 130' INT TERM; \
	localstack/up && cargo test --locked && cargo test --locked --features fail-points --test fail_points

# Spark reads the archives too: needs Java 17, and downloads 900 MB.
test-spark: setup
	cargo test --locked --features spark --test spark

# The coverage page in a Chromium without a window: Debian's package, which is installed if it is missing.
test-browser:
	cargo test --locked --features browser --test browser -- --nocapture

# What a server must do that LocalStack does not check: against a MinIO that is built once, started and stopped. tests/minio/README.md
test-minio: setup
	@trap '[ -n "$$CC_ARCHIVER_TEST_MINIO_ENDPOINT" ] || tests/minio/down' EXIT; \
	trap 'exit 130' INT TERM; \
	tests/minio/up && env -u CC_ARCHIVER_TEST_S3_ENDPOINT \
	cargo test --locked --features minio --test minio --test s3 --test conformance --test wire --test machines --test queries

test-all: test test-spark test-browser test-minio test-deploy test-packages test-fuzz lint prometheus

# What else is in deploy/: manifests, units, every name in them and in docs/deploy.md, the program in what its container holds, and policies,
# on a MinIO. Needs Go (kustomize, MinIO), systemd-analyze, and root on a Debian.
test-deploy:
	@trap '[ -n "$$CC_ARCHIVER_TEST_S3_ENDPOINT" ] || localstack/down; [ -n "$$CC_ARCHIVER_TEST_MINIO_ENDPOINT" ] || tests/minio/down' EXIT; \
	trap 'exit 130' INT TERM; \
	tests/deploy/check && tests/deploy/policies

# .deb, .rpm, tarball and wheel, in target/packages: docs/install.md.
packages:
	deploy/packages/build

# The packages, on a Debian with systemd that has nothing else: every command of docs/first-night.md. Needs root on a Debian.
test-packages: setup
	tests/deploy/trial

# Every alert on real runs, by a real Prometheus, and the dashboard by Grafana's types.
prometheus:
	tests/prometheus/check

# docs/images/dashboard.svg: the dashboard over two weeks of real runs.
dashboard-picture:
	tests/prometheus/check --picture docs/images/dashboard.svg

# Each reader of bytes that others made, half an hour each on bytes that libFuzzer makes up: fuzz/README.md
fuzz:
	fuzz/run 1800

# The same for some seconds each, with the same inputs each time.
test-fuzz:
	FUZZ_SEED=1 fuzz/run 8

# Seventy times the schedules of faults that the tests play, and how often each fault struck.
torture:
	CC_ARCHIVER_FAULT_SCHEDULES=100000 cargo test --locked --test faults schedules -- --nocapture

# Speed, memory and size, beside other programs for the same: BENCHMARKS.md.
bench: setup
	@trap '[ -n "$$CC_ARCHIVER_TEST_S3_ENDPOINT" ] || localstack/down' EXIT; \
	trap 'exit 130' INT TERM; \
	localstack/up && bench/run

# What questions to an archive cost DuckDB, Polars and pyarrow over HTTP, in this layout and in two others: BENCHMARKS.md.
bench-queries:
	bench/queries/run

# cargo-deny, built once; its version is pinned.
DENY = .venv/tools/bin/cargo-deny
$(DENY):
	cargo install --locked --root .venv/tools --target-dir .venv/tools-build cargo-deny@0.20.2
	rm -rf .venv/tools-build

# What must hold of the source itself. Advisories come from the network: cargo deny check advisories, where there is one.
lint: $(DENY)
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps
	$(DENY) --locked check bans licenses sources

# Removes whatever can be made again.
clean:
	localstack/down
	tests/minio/down
	cargo clean
	rm -rf .venv

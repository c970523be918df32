module whodid/testbed/oracle

go 1.26.0

// Older versions of x/mod accept a forged tile (CVE-2026-56865): at least v0.40.0.
require (
	github.com/transparency-dev/formats v0.1.1
	github.com/transparency-dev/merkle v0.0.2
	golang.org/x/mod v0.43.0
)

require (
	filippo.io/mldsa v0.0.0-20260215214346-43d0283efc3e // indirect
	golang.org/x/crypto v0.52.0 // indirect
)

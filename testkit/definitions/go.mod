// The modules whose definitions of custom resources foredeck's chart is held to: Prometheus operator, Gateway API, Cilium.
// Nothing is built of them.
//
// To move to other versions: change them here, then `go mod download` with the three paths as arguments, and drop the old
// lines of go.sum. A change of this file or of go.sum fetches anew.
module foredeck.dev/testkit/definitions

go 1.26.0

require (
	github.com/cilium/cilium v1.20.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.6.3
)

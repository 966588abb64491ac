// Package suite is what tests the cluster and what runs in its pods; the test is the Gateway API conformance suite, to
// be compiled and run beside a cluster that is up.
package suite

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

func TestConformance(t *testing.T) { conformance.RunConformance(t) }

// Package suite is what tests the cluster and what runs in its pods; the test is the Gateway API conformance suite, to
// be compiled and run beside a cluster that is up.
package suite

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
	report "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/yaml"
)

func TestConformance(t *testing.T) { conformance.RunConformance(t) }

// TestMain ends with the report as a table. The exit code stays the tests': some of them are in no profile.
func TestMain(m *testing.M) {
	code := m.Run()
	if path := flag.Lookup("report-output").Value.String(); path != "" {
		if err := printReport(path); err != nil {
			fmt.Fprintln(os.Stderr, "report:", err)
		}
	}
	os.Exit(code)
}

func printReport(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var read report.ConformanceReport
	if err := yaml.Unmarshal(text, &read); err != nil {
		return err
	}
	for _, profile := range read.ProfileReports {
		row := profileRow{name: profile.Name, core: counts(profile.Core)}
		if profile.Extended != nil {
			row.extended = counts(profile.Extended.Status)
			row.supported = len(profile.Extended.SupportedFeatures)
			row.unsupported = profile.Extended.UnsupportedFeatures
		}
		row.print()
	}
	return nil
}

type profileRow struct {
	name           string
	core, extended string
	supported      int
	unsupported    []string
}

func (r profileRow) print() {
	fmt.Printf("profile: %-14s core %-10s extended %-10s features %d/%d %s\n", r.name, r.core, r.extended, r.supported,
		r.supported+len(r.unsupported), strings.Join(r.unsupported, ","))
}

// Passed, failed, skipped.
func counts(status report.Status) string {
	of := status.Statistics
	return fmt.Sprintf("%d/%d/%d", of.Passed, of.Failed, of.Skipped)
}

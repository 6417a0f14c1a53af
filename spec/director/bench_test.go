package director_test

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkDeploy measures what a client sees of a first deploy of three VMs
// whose package is compiled and whose renderer is warm, and of its delete. The
// renderer needs a moment after each deploy to be warm again: back to back,
// deploys take half a second longer.
func BenchmarkDeploy(b *testing.B) {
	d := start(b)
	if err := d.EnsureCloudConfig(context.Background()); err != nil {
		b.Fatal(err)
	}
	if err := d.EnsureRelease(context.Background(), webRelease(b), nil); err != nil {
		b.Fatal(err)
	}
	var deploys, deletes time.Duration
	for i := 0; b.Loop(); i++ {
		<-time.NewTimer(2 * time.Second).C
		name := fmt.Sprintf("web-%d", i)
		begin := time.Now()
		d.deploy(webManifest(name, 3, "greeting: hello"), "done")
		deploys += time.Since(begin)
		begin = time.Now()
		d.run("DELETE", "/deployments/"+name, "", nil)
		deletes += time.Since(begin)
	}
	b.ReportMetric(float64(deploys.Milliseconds())/float64(b.N), "ms/deploy")
	b.ReportMetric(float64(deletes.Milliseconds())/float64(b.N), "ms/delete")
}
